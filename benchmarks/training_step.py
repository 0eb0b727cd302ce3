"""A site's training step against a bare loop on random tensors in memory."""

import statistics
import time
from typing import Any

ARCHITECTURES = ("shufflenet_v2", "resnet10", "mobilenet_v2", "resnet12")
BATCH = 16


def measure(*, image_size: int = 32, images: int = 128, repetitions: int = 21) -> list[dict[str, Any]]:
    """Compare `mdhfl.learning.training.fit`, MONAI's random transforms included, with forward, backward and step alone.

    Both use the bundle's network, optimiser and batch size, channels_last and one thread, in turns.

    Returns:
        Per architecture: bare and site images/s, and the median over repetitions of their ratio.
    """
    import torch

    from mdhfl.learning.bundle import load_bundle
    from mdhfl.learning.training import fit

    torch.set_num_threads(1)
    loss = torch.nn.functional.cross_entropy
    found = []
    for name in ARCHITECTURES:
        torch.manual_seed(0)
        bundle = load_bundle(name, num_classes=13, image_size=image_size)
        network = bundle.network.to(memory_format=torch.channels_last)
        pixels = torch.randint(0, 255, (images, 3, image_size, image_size), dtype=torch.uint8)
        labels = torch.randint(0, 13, (images,))
        x = torch.randn(BATCH, 3, image_size, image_size).contiguous(memory_format=torch.channels_last)

        def bare(bundle: Any = bundle, network: Any = network, x: Any = x, y: Any = labels[:BATCH]) -> None:
            network.train()
            for _ in range(images // BATCH):
                bundle.optimizer.zero_grad(set_to_none=True)
                loss(network(x), y).backward()
                bundle.optimizer.step()

        def site(bundle: Any = bundle, network: Any = network, pixels: Any = pixels, labels: Any = labels) -> None:
            fit(
                network,
                optimizer=bundle.optimizer,
                images=pixels,
                targets=labels,
                loss=loss,
                epochs=1,
                batch_size=BATCH,
                intensity=bundle.intensity_transform,
                augment=bundle.random_transforms.batch,
                generator=torch.Generator().manual_seed(0),
            )

        for warm_up in (bare, site):
            warm_up()
        pairs = [(_seconds(bare), _seconds(site)) for _ in range(repetitions)]
        found.append(
            {
                "architecture": name,
                "bare img/s": round(images / statistics.median(b for b, _ in pairs)),
                "site img/s": round(images / statistics.median(s for _, s in pairs)),
                "ratio": round(statistics.median(b / s for b, s in pairs), 2),
            }
        )
    return found


def _seconds(work: Any) -> float:
    start = time.process_time()  # of one thread: what else runs on the machine does not count
    work()
    return time.process_time() - start
