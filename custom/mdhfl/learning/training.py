"""The plain torch loops: fit to labels or to a teacher, predict. They know no site, no file and no FLARE."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mdhfl.learning.normalisation import batch_statistics, statistics_kept

Loss = Callable[[Tensor, Tensor], Tensor]
Augment = Callable[[Tensor], Tensor]
PREDICTION_BATCH = 256


class TrainingDiverged(RuntimeError):
    """The loss became NaN or infinite."""


class Aborted(RuntimeError):
    """Somebody asked to stop; nothing after the last saved round is kept."""


@dataclass(frozen=True, kw_only=True)
class Companion:
    """A second stream of batches that joins every step: the public images and what is taught about them.

    Attributes:
        images: (N, 3, S, S) uint8.
        targets: (N, C) rows of a teacher.
        loss: (logits, targets of the batch) -> scalar, weighted as it is to be added.
        generator: decides the order of the images; they begin anew when all were seen.
        keep_statistics: whether its batches leave batch normalisation's running statistics alone.
    """

    images: Tensor
    targets: Tensor
    loss: Loss
    generator: torch.Generator
    keep_statistics: bool = True

    def batches(self, size: int) -> Iterator[Tensor]:
        """Yield the indices of batches of `size` images (of all, if there are fewer), without end."""
        while True:
            order = torch.randperm(len(self.images), generator=self.generator)
            batches = order.split(size)
            yield from batches[:-1] if len(batches) > 1 and len(batches[-1]) < size else batches


def fit(
    network: nn.Module,
    *,
    optimizer: torch.optim.Optimizer,
    images: Tensor,
    targets: Tensor,
    loss: Loss,
    epochs: int,
    batch_size: int,
    intensity: Callable[[Tensor], Tensor],
    augment: Augment | None,
    generator: torch.Generator,
    penalty: Callable[[], Tensor] | None = None,
    images_per_epoch: int | None = None,
    after_step: Callable[[], None] | None = None,
    companion: Companion | None = None,
    keep_statistics: bool = False,
    should_stop: Callable[[], bool] = lambda: False,
) -> float | None:
    """Train a network on images in memory.

    Args:
        network: in channels_last memory format, on its device.
        optimizer: of the network's parameters.
        images: (M, 3, S, S) uint8 on the CPU.
        targets: (M,) labels or (M, C) rows of a teacher.
        loss: (logits, targets of the batch) -> scalar.
        epochs: passes over the images; with 0 nothing happens.
        batch_size: B. A last batch of one image is left out: batch normalisation cannot use it.
        intensity: elementwise, uint8 -> float, applied to the whole batch.
        augment: random transforms of a (B, 3, S, S) uint8 batch, image by image; None for none.
        generator: decides the order of the images.
        penalty: added to the loss at every step.
        images_per_epoch: drawn at random in each epoch; all images if None.
        after_step: called after every optimiser step.
        companion: a second stream whose loss is added at every step.
        keep_statistics: whether the images leave batch normalisation's running statistics alone.
        should_stop: asked before every batch.

    Returns:
        The mean loss over all images seen, None if there were none.

    Raises:
        TrainingDiverged: the loss is not finite; the network must not be used any more.
        Aborted: `should_stop` said so.
    """
    device = next(network.parameters()).device
    network.train()
    total, seen = torch.zeros((), device=device), 0
    beside = None if companion is None else companion.batches(batch_size)
    with statistics_kept(network) if keep_statistics else nullcontext():
        for batch in batches_of(len(images), epochs, batch_size, images_per_epoch, generator):
            if should_stop():
                raise Aborted("stopped between two batches")
            x = intensity(inputs(images, batch, augment=augment, device=device))
            value = loss(network(x), targets[batch].to(device))
            if penalty is not None:
                value = value + penalty()
            if companion is not None and beside is not None:
                value = value + companion_loss(network, companion, next(beside), intensity=intensity, device=device)
            if not torch.isfinite(value):
                raise TrainingDiverged(f"the loss became {value.item()} after {seen} images")
            optimizer.zero_grad(set_to_none=True)
            value.backward()
            optimizer.step()
            if after_step is not None:
                after_step()
            total += value.detach() * len(batch)
            seen += len(batch)
    return mean_loss(total, seen)


@contextmanager
def slowed(optimizer: torch.optim.Optimizer, *, by: float) -> Iterator[None]:
    """Multiply an optimiser's learning rates, and give them back afterwards: what is kept of it does not change."""
    rates = [group["lr"] for group in optimizer.param_groups]
    try:
        for group in optimizer.param_groups:
            group["lr"] *= by
        yield
    finally:
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate


def mean_loss(total: Tensor, seen: int) -> float | None:
    """Return the mean loss over the images seen, None if there were none. Raises TrainingDiverged: it is infinite."""
    if seen and not torch.isfinite(total):
        raise TrainingDiverged(f"the losses of {seen} images have no finite sum")
    return float(total / seen) if seen else None


def batches_of(
    count: int, epochs: int, batch_size: int, images_per_epoch: int | None, generator: torch.Generator
) -> Iterator[Tensor]:
    """Yield the indices of each batch of each epoch; a last batch of one image is left out."""
    for _ in range(epochs):
        for batch in torch.randperm(count, generator=generator)[:images_per_epoch].split(batch_size):
            if len(batch) > 1:
                yield batch


def companion_loss(
    network: nn.Module,
    companion: Companion,
    batch: Tensor,
    *,
    intensity: Callable[[Tensor], Tensor],
    device: torch.device,
) -> Tensor:
    x = intensity(inputs(companion.images, batch, augment=None, device=device))
    with statistics_kept(network) if companion.keep_statistics else nullcontext():
        return companion.loss(network(x), companion.targets[batch].to(device))


@torch.inference_mode()
def predict(
    network: nn.Module,
    *,
    images: Tensor,
    intensity: Callable[[Tensor], Tensor],
    own_statistics: bool = False,
    should_stop: Callable[[], bool] = lambda: False,
) -> Tensor:
    """Return the (M, C) float32 logits of (M, 3, S, S) uint8 images, in one pass, on the CPU.

    Args:
        network: on its device.
        images: uint8, on the CPU.
        intensity: elementwise, uint8 -> float.
        own_statistics: whether batch normalisation uses the images' own statistics, batch by batch, instead of the
            running ones.
        should_stop: asked before every batch.

    Raises:
        Aborted: `should_stop` said so.
    """
    device = next(network.parameters()).device
    network.eval()
    batches = _spread(len(images))
    logits = []
    with batch_statistics(network) if own_statistics else nullcontext():
        for batch in batches:
            if should_stop():
                raise Aborted("stopped between two batches")
            x = intensity(inputs(images, batch, augment=None, device=device))
            logits.append(network(x).float().cpu())
    return torch.cat(logits)[torch.cat(batches).argsort()] if logits else torch.zeros((0, 0))


def _spread(count: int) -> list[Tensor]:
    """Return indices in batches that each run through all images: their statistics are those of all, in any order."""
    steps = math.ceil(count / PREDICTION_BATCH)
    return [torch.arange(first, count, steps) for first in range(steps)]


def inputs_of(network: nn.Module, images: Tensor, *, intensity: Callable[[Tensor], Tensor]) -> Iterator[Tensor]:
    """Yield (M, 3, S, S) uint8 images in batches as a network takes them, on its device.

    The batches are alike in number to one image and each runs through all images, so that a mean over batches weighs
    every image alike, whatever their order. A single image yields nothing: batch normalisation cannot use it.
    """
    device = next(network.parameters()).device
    for batch in _spread(len(images)):
        if len(batch) > 1:
            yield intensity(inputs(images, batch, augment=None, device=device))


def inputs(images: Tensor, indices: Tensor, *, augment: Augment | None, device: torch.device) -> Tensor:
    """Return images on a device in channels_last, transformed at random, still uint8."""
    batch = images[indices]
    if augment is not None:
        batch = augment(batch)
    return batch.to(device).contiguous(memory_format=torch.channels_last)
