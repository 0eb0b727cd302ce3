"""The plain torch loops: fit to labels or to a teacher, predict. They know no site, no file and no FLARE."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

Loss = Callable[[Tensor, Tensor], Tensor]
Augment = Callable[[Tensor], Tensor]
PREDICTION_BATCH = 256


class TrainingDiverged(RuntimeError):
    """The loss became NaN or infinite."""


class Aborted(RuntimeError):
    """Somebody asked to stop; nothing after the last saved round is kept."""


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
    for _ in range(epochs):
        for batch in torch.randperm(len(images), generator=generator)[:images_per_epoch].split(batch_size):
            if should_stop():
                raise Aborted("stopped between two batches")
            if len(batch) < 2:
                continue
            x = intensity(_batch(images, batch, augment=augment, device=device))
            value = loss(network(x), targets[batch].to(device))
            if penalty is not None:
                value = value + penalty()
            if not torch.isfinite(value):
                raise TrainingDiverged(f"the loss became {value.item()} after {seen} images")
            optimizer.zero_grad(set_to_none=True)
            value.backward()
            optimizer.step()
            total += value.detach() * len(batch)
            seen += len(batch)
    return float(total / seen) if seen else None


@torch.inference_mode()
def predict(
    network: nn.Module,
    *,
    images: Tensor,
    intensity: Callable[[Tensor], Tensor],
    should_stop: Callable[[], bool] = lambda: False,
) -> Tensor:
    """Return the (M, C) float32 logits of (M, 3, S, S) uint8 images, in one pass, on the CPU.

    Raises:
        Aborted: `should_stop` said so.
    """
    device = next(network.parameters()).device
    network.eval()
    logits = []
    for batch in torch.arange(len(images)).split(PREDICTION_BATCH):
        if should_stop():
            raise Aborted("stopped between two batches")
        x = intensity(_batch(images, batch, augment=None, device=device))
        logits.append(network(x).float().cpu())
    return torch.cat(logits) if logits else torch.zeros((0, 0))


def _batch(images: Tensor, indices: Tensor, *, augment: Augment | None, device: torch.device) -> Tensor:
    batch = images[indices]
    if augment is not None:
        batch = augment(batch)
    return batch.to(device).contiguous(memory_format=torch.channels_last)
