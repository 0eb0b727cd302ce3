"""What `mdhfl check` tries with a bundle before a site trusts it with a run: one training step, and what may mislead.

A bundle that passes trains as it will be served: its answers are logits, the same for an image alone or in a batch.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mdhfl.learning.bundle import NO_CHANGES, BundleError, LoadedBundle, first_line, load_bundle

if TYPE_CHECKING:
    from torch import Tensor

TOLERANCE = 1e-3  # between an image's logits alone and in a batch, relative to their size
COUNT = 4  # images of a batch


def verify_bundle(
    name_or_path: str | Path, *, num_classes: int, image_size: int, changes: Mapping[str, Any] = NO_CHANGES
) -> list[str]:
    """Return what is wrong with a bundle, in words; nothing if it can be used.

    Args:
        name_or_path: see `find_bundle`.
        num_classes: C.
        image_size: S in pixels.
        changes: of its training, see `bundle_changes.py`.
    """
    import torch

    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            bundle = load_bundle(name_or_path, num_classes=num_classes, image_size=image_size, changes=changes)
            problem = _first_problem(bundle, num_classes=num_classes, image_size=image_size)
            return [] if problem is None else [f"bundle {bundle.name}: {problem}"]
    except BundleError as error:
        return [str(error)]


def _first_problem(bundle: LoadedBundle, *, num_classes: int, image_size: int) -> str | None:
    """Return what goes wrong first: what follows would go wrong for the same reason."""
    import torch

    count = 2 * COUNT
    noise = torch.rand((count, 3, image_size, image_size))
    images = (noise * torch.linspace(128, 256, count).view(count, 1, 1, 1)).to(torch.uint8)  # each of its own range
    labels = torch.arange(count) % num_classes
    checks: list[Callable[[], str | None]] = [
        lambda: _intensity(bundle, images),
        lambda: _random_transforms(bundle, images),
        lambda: _training_step(bundle, images, labels),
        lambda: _probabilities(bundle, images),
        lambda: _alone(bundle, images),
    ]
    for check in checks:
        try:
            problem = check()
        except Exception as error:  # a bundle is code: it raises what it likes
            problem = f"fails on {count} images of noise ({first_line(error)})"
        if problem is not None:
            return problem
    return None


def _intensity(bundle: LoadedBundle, images: "Tensor") -> str | None:
    """Elementwise: an image alone gives the same, and shuffled pixels, whatever their channel, shuffled results."""
    import torch

    order = torch.randperm(images.numel())
    scaled = bundle.intensity_transform(images)
    shuffled = bundle.intensity_transform(images.flatten()[order].reshape(images.shape))
    alone = bundle.intensity_transform(images[:1])
    if (
        scaled.shape == images.shape
        and torch.equal(alone, scaled[:1])
        and torch.equal(shuffled.flatten(), scaled.flatten()[order])
    ):
        return None
    return (
        "intensity_transform: expected one that maps each pixel by itself, got one that looks at others: it would see "
        "batches in training and single images afterwards; use ScaleIntensityRange, and put a normalisation of images "
        "or channels into network_def"
    )


def _random_transforms(bundle: LoadedBundle, images: "Tensor") -> str | None:
    if bundle.random_transforms is None:
        return None
    changed = bundle.random_transforms.batch(images)
    if changed.shape == images.shape and changed.dtype == images.dtype:
        return None
    return (
        f"random_transforms: expected images of shape {tuple(images.shape[1:])} and type {images.dtype} as they came, "
        f"got {tuple(changed.shape[1:])} and {changed.dtype}; they run before intensity_transform"
    )


def _training_step(bundle: LoadedBundle, images: "Tensor", labels: "Tensor") -> str | None:
    """Two batches, as training takes them: a network may answer otherwise while it trains."""
    import torch

    network = bundle.network.train()
    before = [parameter.detach().clone() for parameter in network.parameters()]
    for half in (slice(None, COUNT), slice(COUNT, None)):
        answers = network(bundle.intensity_transform(images[half]))
        if not isinstance(answers, torch.Tensor):
            return (
                f"network_def: expected one tensor of logits while it trains, got {type(answers).__name__}; switch its "
                "auxiliary outputs off (for torchvision's: aux_logits: false)"
            )
        loss = torch.nn.functional.cross_entropy(answers.float(), labels[half])
        if not torch.isfinite(loss):
            return f"expected a finite loss on images of noise, got {loss.item()}; is its learning rate too high?"
        bundle.optimizer.zero_grad()
        loss.backward()
        bundle.optimizer.step()
    if all(torch.equal(one, other) for one, other in zip(before, network.parameters(), strict=True)):
        return "optimizer: a step changes no weight; give it params: $@network.parameters(), and a learning rate"
    return None


def _probabilities(bundle: LoadedBundle, images: "Tensor") -> str | None:
    answers = _answers(bundle, images)
    sums = answers.sum(dim=1) if answers.min() >= 0 else answers.exp().sum(dim=1)
    if float((sums - 1).abs().max()) > TOLERANCE:
        return None
    return "network_def: expected logits, got rows that sum to 1: leave out the (log-)softmax at its end"


def _alone(bundle: LoadedBundle, images: "Tensor") -> str | None:
    import torch

    together = _answers(bundle, images)
    alone = torch.cat([_answers(bundle, images[i : i + 1]) for i in range(len(images))])
    difference, size = float((together - alone).abs().max()), float(together.abs().max())
    if difference <= TOLERANCE * max(1.0, size):
        return None
    return (
        f"network_def: an image alone and in a batch: logits differ by {difference:.3g}; something in it looks at the "
        "whole batch though it does not train"
    )


def _answers(bundle: LoadedBundle, images: "Tensor") -> Any:
    import torch

    bundle.network.eval()
    with torch.no_grad():
        return bundle.network(bundle.intensity_transform(images)).float()
