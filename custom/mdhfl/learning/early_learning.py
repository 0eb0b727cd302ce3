"""Early-learning regularisation: a network holds on to what it said of each image before it learnt the wrong labels.

Liu et al., "Early-Learning Regularization Prevents Memorization of Noisy Labels", NeurIPS 2020.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mdhfl.learning.training import Loss

KEPT = 0.7  # beta: share of the answers of before in an image's target (the paper's on CIFAR-10)
SMALLEST_PROBABILITY = 1e-4  # p is clamped here from both ends, so that log(1 - <p, t>) is finite (reference value)


def early_learning_regulariser(logits: Tensor, targets: Tensor) -> Tensor:
    """Return mean_i log(1 - <p_i, t_i>), at most 0: the smaller, the more an answer is what it was.

    Args:
        logits: (B, C) scores; p is their softmax. The gradient flows into these only.
        targets: (B, C) rows t that sum to at most 1.

    Source: the paper's equation 6.
    """
    probabilities = _probabilities(logits)
    return (1 - (probabilities * targets.detach()).sum(dim=1)).log().mean()


class EarlyAnswers:
    """What a network has said of each training image, as a moving average over the epochs.

    t_i <- 0.7 t_i + 0.3 p_i whenever image i is in a batch, from 0.

    Attributes:
        targets: (M, C), on the network's device.
    """

    def __init__(self, *, images: int, classes: int, device: torch.device | str) -> None:
        self.targets = torch.zeros((images, classes), device=device)

    def beside(self, base: Loss, labels: Tensor, *, weight: float, prior: Tensor | None) -> tuple[Tensor, Loss]:
        """Return what to train towards, and the loss: base(z, y_i) + weight * log(1 - <p_i, t_i>), mean over a batch.

        Args:
            base: the loss of (B, C) logits against (B,) labels.
            labels: (M,) of the training images.
            weight: lambda, above 0. The paper's on CIFAR-10: 3.
            prior: (C,) that the base loss adds to logits, so that both look at the same probabilities; None for none.

        Returns:
            (M,) numbers of the images, in place of their labels, and the loss of logits against such numbers.
        """

        def loss(logits: Tensor, numbers: Tensor) -> Tensor:
            with_prior = logits if prior is None else logits + prior.to(logits.device)
            said = _probabilities(with_prior).detach()
            kept = KEPT * self.targets[numbers] + (1 - KEPT) * said / said.sum(dim=1, keepdim=True)
            self.targets[numbers] = kept
            there = labels[numbers.cpu()].to(logits.device)
            return base(logits, there) + weight * early_learning_regulariser(with_prior, kept)

        return torch.arange(len(labels)), loss

    def state(self) -> dict[str, Any]:
        """Return what `restore` needs."""
        return {"targets": self.targets}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on with the answers that `state` gave. Raises RuntimeError: they are of other images or classes."""
        self.targets.copy_(state["targets"])


def _probabilities(logits: Tensor) -> Tensor:
    return logits.softmax(dim=1).clamp(min=SMALLEST_PROBABILITY, max=1 - SMALLEST_PROBABILITY)
