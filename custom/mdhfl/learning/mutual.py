"""Two networks that learn from the same labelled images and from each other, batch by batch."""

from collections.abc import Callable

import torch
from torch import Tensor

from mdhfl.learning.model import Model, ShouldStop
from mdhfl.learning.training import Aborted, TrainingDiverged, batches_of, inputs, mean_loss

MutualLoss = Callable[[Tensor, Tensor, Tensor], Tensor]  # own logits, labels, the other's logits (detached) -> scalar


def fit_mutually(
    first: Model,
    second: Model,
    *,
    images: Tensor,
    labels: Tensor,
    losses: tuple[MutualLoss, MutualLoss],
    epochs: int,
    seed: int,
    transforms_seed: int,
    should_stop: ShouldStop,
) -> float | None:
    """Train both, each with its own optimiser, on the same randomly transformed batches.

    Args:
        first: its bundle gives the batch size and the random transforms.
        second: the other one.
        images: (M, 3, S, S) uint8.
        labels: (M,).
        losses: of the first and of the second network.
        epochs: passes over the images.
        seed: of the order of the images, and of dropout.
        transforms_seed: of the random transforms.
        should_stop: asked before every batch.

    Returns:
        The first network's mean loss over all images seen, None if there were none.

    Raises:
        TrainingDiverged: a loss is not finite; the networks must not be used any more.
        Aborted: `should_stop` said so.
    """
    augment, models = first.begin(seed=seed, transforms_seed=transforms_seed), (first, second)
    for model in models:
        model.network.train()
    device = next(first.network.parameters()).device
    total, seen = torch.zeros((), device=device), 0
    generator = torch.Generator().manual_seed(seed)
    for batch in batches_of(len(images), epochs, first.bundle.batch_size, None, generator):
        if should_stop():
            raise Aborted("stopped between two batches")
        pixels = inputs(images, batch, augment=augment, device=device)
        targets = labels[batch].to(device)
        logits = [model.network(model.bundle.intensity_transform(pixels)) for model in models]
        values = [
            loss(own, targets, other.detach())
            for loss, own, other in zip(losses, logits, reversed(logits), strict=True)
        ]
        if not all(torch.isfinite(value) for value in values):
            raise TrainingDiverged(f"the losses became {[value.item() for value in values]} after {seen} images")
        for model, value in zip(models, values, strict=True):
            model.bundle.optimizer.zero_grad(set_to_none=True)
            value.backward()
            model.bundle.optimizer.step()
            if model.averaged is not None:
                model.averaged.update()
        total += values[0].detach() * len(batch)
        seen += len(batch)
    return mean_loss(total, seen)
