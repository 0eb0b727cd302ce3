"""MDH-FL with a teacher for each site and image: those who answer alike weigh more.

Our variant for the question which mean teaches best; not in the paper. Its price: one matrix a site, not one for all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mdhfl.methods.mdhfl import Mdhfl
from mdhfl.methods.method import Desk, Lesson, require
from mdhfl.sharing.knowledge import Knowledge
from mdhfl.sharing.teaching import Teaching


@dataclass(frozen=True, kw_only=True)
class MdhflAttention(Mdhfl):
    """T_k(i) = sum over the others j of a_kj(i) K_j(i), a_k(i) = softmax_j(s_kj(i) / attention_temperature).

    s_kj(i) = sum_c sqrt(K_k(i, c) K_j(i, c)), the Bhattacharyya coefficient of the two answers, from 0 to 1.

    Attributes:
        attention_temperature: above 0; small: only the most alike teach, large: all alike.
    """

    attention_temperature: float

    def __post_init__(self) -> None:
        super().__post_init__()
        require("attention_temperature", self.attention_temperature, above=0)

    def teach(
        self, shared: Mapping[str, Any], *, sites: Sequence[str], desk: Desk | None = None
    ) -> Mapping[str, Lesson]:
        names = sorted(shared)
        if len(names) < 2:
            return {}
        answers = np.stack([shared[name].values.astype(np.float64) for name in names])
        return {name: self._lesson(answers, k, round_=shared[name].round) for k, name in enumerate(names)}

    def _lesson(self, answers: NDArray[np.float64], k: int, *, round_: int) -> Teaching:
        """Return what site k learns from, of (P, N, C) answers."""
        others = np.delete(answers, k, axis=0)
        alike = np.einsum("nc,jnc->jn", np.sqrt(answers[k]), np.sqrt(others)) / self.attention_temperature
        attention = np.exp(alike - alike.max(axis=0))
        attention /= attention.sum(axis=0)
        values = np.einsum("jn,jnc->nc", attention, others)
        return Teaching(values=values.astype(np.float32), weights={"the others": 1.0}, round=round_)

    def teacher(self, teaching: Teaching, *, own: Knowledge | None, site: str) -> NDArray[np.float32] | None:
        return np.asarray(teaching.values / teaching.values.sum(axis=1, keepdims=True))
