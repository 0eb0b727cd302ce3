"""A site's training on a GPU against one core, image size by image size."""

import statistics
import time
from typing import Any

from benchmarks.training_step import ARCHITECTURES

IMAGES = {32: 256, 64: 128, 224: 32}  # image size in pixels: images an epoch, so that each takes about as long


def measure(*, repetitions: int = 3) -> list[dict[str, Any]]:
    """Train each bundle for some epochs on both, in turns: MONAI's transforms on the CPU, the network where it is.

    Returns:
        Per architecture and image size: images/s on one core and on the GPU, and the median of their ratio.
    """
    import torch

    torch.set_num_threads(1)
    found = []
    for name in ARCHITECTURES:
        for size, images in IMAGES.items():
            epochs = {device: _epoch(name, size=size, images=images, device=device) for device in ("cpu", "cuda")}
            for epoch in epochs.values():
                epoch()
            pairs = [(epochs["cpu"](), epochs["cuda"]()) for _ in range(repetitions)]
            found.append(
                {
                    "architecture": name,
                    "px": size,
                    "one core img/s": round(images / statistics.median(cpu for cpu, _ in pairs)),
                    "GPU img/s": round(images / statistics.median(gpu for _, gpu in pairs)),
                    "ratio": round(statistics.median(cpu / gpu for cpu, gpu in pairs), 1),
                }
            )
    return found


def _epoch(name: str, *, size: int, images: int, device: str) -> Any:
    """Return what trains a bundle for an epoch and tells the seconds."""
    import torch

    from mdhfl.learning.model import Model

    model = Model.open(name, num_classes=13, image_size=size, device=device, seed=0)
    pixels = torch.randint(0, 255, (images, 3, size, size), dtype=torch.uint8)
    labels = torch.randint(0, 13, (images,))

    def epoch() -> float:
        start = time.perf_counter()
        model.fit(
            pixels, labels, loss=torch.nn.functional.cross_entropy, epochs=1, seed=0, transforms_seed=0
        )  # the mean loss that it returns waits for the GPU
        return time.perf_counter() - start

    return epoch
