"""A moving average of a network's weights: what answers, is scored and is exported, while the other trains.

Polyak, Juditsky: "Acceleration of Stochastic Approximation by Averaging", 1992; with a decay per step as in Tarvainen,
Valpola: "Mean Teachers Are Better Role Models", NeurIPS 2017.
"""

from collections.abc import Iterable
from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn


class AveragedNetwork:
    """The average of a network's floating-point state over its optimiser steps.

    w_avg <- decay * w_avg + (1 - decay) * w, running statistics included; what is not floating-point is copied.

    Attributes:
        network: with the averaged weights; never trained.
    """

    def __init__(self, network: nn.Module, *, decay: float) -> None:
        """Begin at a network's weights.

        Args:
            network: the one that trains.
            decay: per step, in [0, 1).

        Raises:
            ValueError: the decay is out of range.
        """
        if not 0 <= decay < 1:
            raise ValueError(f"decay of averaged weights: expected from 0 to below 1, got {decay}")
        self.network = deepcopy(network).requires_grad_(False)
        self.decay = decay
        ours, theirs = self.network.state_dict(), network.state_dict()
        floating = [name for name, value in ours.items() if value.is_floating_point()]
        self._averages, self._weights = [ours[n] for n in floating], [theirs[n] for n in floating]
        self._copied = [(ours[n], theirs[n]) for n in ours if n not in set(floating)]

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights as they are after an optimiser step."""
        torch._foreach_lerp_(self._averages, self._weights, 1 - self.decay)
        for ours, theirs in self._copied:
            ours.copy_(theirs)

    def renew_statistics(self, batches: Iterable[Tensor]) -> None:
        """Measure batch normalisation's running statistics anew: an average of statistics fits no average of weights.

        Args:
            batches: (B, 3, S, S) float images of the kind that the network is to classify.

        Source: Izmailov et al., "Averaging Weights Leads to Wider Optima and Better Generalization", UAI 2018.
        """
        update_bn(batches, self.network)
        self.network.eval()
