"""Ensemble distillation at a server, FedDF's second half: plain torch, no site, no file and no FLARE."""

from collections.abc import Callable, Iterator
from copy import deepcopy

import torch
from torch import Tensor, nn

from mdhfl.learning.images import Part
from mdhfl.learning.training import predict
from mdhfl.methods.feddf import FedDf


def distil(
    network: nn.Module,
    *,
    images: Tensor,
    teacher: Tensor,
    validation: Part,
    settings: FedDf,
    intensity: Callable[[Tensor], Tensor],
    generator: torch.Generator,
) -> dict[str, Tensor]:
    """Train a network on an ensemble's answers until its validation accuracy rises no more.

    Args:
        network: the average that it starts from; left as the last step made it.
        images: (N, 3, S, S) uint8 public images.
        teacher: (N, C) mean logits of the ensemble.
        validation: labelled images.
        settings: the method's hyper-parameters.
        intensity: elementwise, uint8 -> float.
        generator: decides the order of the images.

    Returns:
        The state_dict with the best validation accuracy; the one that it started from, if no step made it better. A
        loss that is not finite ends the training: an odd teacher must not end the round.

    Source: Lin et al., NeurIPS 2020, algorithm 1, lines 9 to 12; validation once an epoch of the public images.
    """
    device = next(network.parameters()).device
    optimizer = torch.optim.Adam(network.parameters(), lr=settings.distil_learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=settings.distil_batches)
    best, best_accuracy, best_step = deepcopy(network.state_dict()), _accuracy(network, validation, intensity), 0
    every = max(1, len(images) // settings.distil_batch_size)
    for step, batch in enumerate(_batches(len(images), settings, generator), start=1):
        network.train()
        x = intensity(images[batch].to(device).contiguous(memory_format=torch.channels_last))
        loss = settings.distillation_loss(network(x), teacher[batch].to(device))
        if not torch.isfinite(loss):
            break
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % every == 0 or step == settings.distil_batches:
            accuracy = _accuracy(network, validation, intensity)
            if accuracy > best_accuracy:
                best, best_accuracy, best_step = deepcopy(network.state_dict()), accuracy, step
            elif step - best_step >= settings.distil_patience:
                break
    return best


def _batches(count: int, settings: FedDf, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield at most `distil_batches` batches of at least two images, epoch after epoch."""
    done = 0
    while True:
        for batch in torch.randperm(count, generator=generator).split(settings.distil_batch_size):
            if len(batch) < 2 and count > 1:
                continue
            yield batch
            done += 1
            if done == settings.distil_batches:
                return


def _accuracy(network: nn.Module, part: Part, intensity: Callable[[Tensor], Tensor]) -> float:
    predicted = predict(network, images=part.images, intensity=intensity).argmax(dim=1)
    return float((predicted == part.labels).float().mean())
