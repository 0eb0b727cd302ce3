"""MDH-FL with a teacher for each site and image: those who answer alike weigh more.

Our variant for the question which mean teaches best; not in the paper. Its price: one matrix per site, not one for all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from mdhfl.methods.knowledge_method import FULL
from mdhfl.methods.mdhfl import Mdhfl
from mdhfl.methods.parameters import parameter
from mdhfl.sharing.knowledge import Knowledge
from mdhfl.sharing.records import Lesson
from mdhfl.sharing.teaching import Teaching, rows_of_sum_one


@dataclass(frozen=True, kw_only=True)
class MdhflAttention(Mdhfl):
    """T_k(i) = sum over the others j of a_kj(i) K_j(i), a_k(i) = softmax_j(s_kj(i) / attention_temperature).

    s_kj(i) = sum_c sqrt(K_k(i, c) K_j(i, c)), the Bhattacharyya coefficient of the two answers, from 0 to 1.
    """

    attention_temperature: float = parameter(
        0.1, "temperature of the attention; small: only the most alike teach, large: all alike", above=0
    )

    title: ClassVar[str] = "MDH-FL, attention"
    summary: ClassVar[str] = "MDH-FL whose teachers weigh more, image by image, if they answer alike"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.robust != "mean":
            raise ValueError(f"robust: expected mean, got {self.robust}: attention is a weighting of its own")

    def combine(
        self, shared: Mapping[str, Any], *, sites: Sequence[str], trust: Mapping[str, float] = FULL
    ) -> Mapping[str, Lesson]:
        names = sorted(shared)
        if len(names) < 2:
            return {}
        answers = np.stack([shared[name].values.astype(np.float64) for name in names])
        weights = np.array([trust.get(name, 1.0) for name in names])
        return {
            name: self._lesson(answers, k, weights=weights, number=shared[name].round) for k, name in enumerate(names)
        }

    def _lesson(self, answers: NDArray[np.float64], k: int, *, weights: NDArray[np.float64], number: int) -> Teaching:
        """Return what site k learns from, of (P, N, C) answers and (P,) weights."""
        others = np.delete(answers, k, axis=0)
        alike = np.einsum("nc,jnc->jn", np.sqrt(answers[k]), np.sqrt(others)) / self.attention_temperature
        attention = np.delete(weights, k)[:, None] * np.exp(alike - alike.max(axis=0))
        attention /= attention.sum(axis=0)
        values = np.einsum("jn,jnc->nc", attention, others)
        return Teaching(values=values.astype(np.float32), weights={"the others": 1.0}, round=number)

    def teacher(self, teaching: Teaching, *, own: Knowledge | None, site: str) -> NDArray[np.float32] | None:
        return rows_of_sum_one(teaching.values)
