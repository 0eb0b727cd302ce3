"""RHFL: MDH-FL's losses, with teachers weighted by how fast their local loss falls.

Fang, Ye: "Robust Federated Learning with Noisy and Heterogeneous Clients", CVPR 2022. Differences: knowledge is
exchanged once a round, not once a batch; a loss that rises counts as one that stands still, since the published
weights explode where the drops sum to nearly nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from mdhfl.methods.mdhfl import Mdhfl
from mdhfl.methods.parameters import parameter
from mdhfl.sharing.knowledge import Knowledge
from mdhfl.sharing.limits import LARGEST_CONFIDENCE
from mdhfl.sharing.teaching import Teaching, leave_one_out

SMALLEST_SUM = 1e-6  # of all loss drops; below it all teachers weigh alike


@dataclass(frozen=True, kw_only=True)
class Rhfl(Mdhfl):
    """L_align = sum over the others j of w_j KL(K_j || own), w = softmax(1 / (P - 1) + confidence * q_j / sum q).

    q_j = max((L_j(t-1) - L_j(t)) / L_j(t), 0), with L_j the mean local loss of site j. The first drop compares the mean
    over all warm-up epochs, L_j(0), with that over the few epochs of round 1: as a rule, it is larger than later ones.
    """

    warm_up_epochs: int = parameter(40, "epochs of local training before the first alignment", at_least=0)
    confidence_weight: float = parameter(
        0.5, "weight of the relative loss drop in a teacher's weight", at_least=0, at_most=10
    )

    title: ClassVar[str] = "RHFL"
    summary: ClassVar[str] = "MDH-FL's losses, with teachers weighted by how fast their local loss falls"
    citation: ClassVar[str] = "Fang, Ye, CVPR 2022"

    def confidence(self, *, before: float | None, now: float | None) -> float:
        if before is None or not now:
            return 0.0
        return min(max((before - now) / now, 0.0), LARGEST_CONFIDENCE)

    def teacher_weights(self, shared: Mapping[str, Knowledge]) -> dict[str, float]:
        drops = {site: knowledge.confidence for site, knowledge in shared.items()}
        return confidence_weights(drops, weight=self.confidence_weight)

    def teacher(self, teaching: Teaching, *, own: Knowledge | None, site: str) -> NDArray[np.float32] | None:
        """Return rows that sum to the others' weights: their divergence has the gradient of the weighted sum."""
        mean = leave_one_out(teaching, own=own, site=site)
        others = sum(weight for name, weight in teaching.weights.items() if name != site)
        return None if mean is None else mean * np.float32(others)


def confidence_weights(drops: Mapping[str, float], *, weight: float) -> dict[str, float]:
    """Return the sites' weights, which sum to 1, from their relative loss drops (at least 0)."""
    names = sorted(drops)
    quality = np.array([max(float(drops[name]), 0.0) for name in names])
    share = quality / quality.sum() if quality.sum() > SMALLEST_SUM else np.full(len(names), 1 / len(names))
    amplified = np.exp(1 / max(len(names) - 1, 1) + weight * share)
    return {name: float(value) for name, value in zip(names, amplified / amplified.sum(), strict=True)}
