"""MDH-FL with the geometric mean of the others' answers: the mean of their logits, through one softmax.

Our variant for the question which mean teaches best; not in the paper.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from mdhfl.methods.mdhfl import Mdhfl
from mdhfl.sharing.knowledge import Kind, Knowledge
from mdhfl.sharing.limits import LARGEST_LOGIT
from mdhfl.sharing.teaching import Teaching, mean_of_others, rows_of_sum_one

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class MdhflGeometric(Mdhfl):
    """L_align = KL(softmax(mean over the others j of z_j / temperature) || own)."""

    title: ClassVar[str] = "MDH-FL, geometric mean"
    summary: ClassVar[str] = "MDH-FL with the geometric mean of the others' answers"
    shares: ClassVar[str | None] = "logits"
    knowledge_kind: ClassVar[Kind] = "logits"

    def express(self, logits: "Tensor") -> "Tensor":
        return logits.clamp(-LARGEST_LOGIT, LARGEST_LOGIT)

    def teacher(self, teaching: Teaching, *, own: Knowledge | None, site: str) -> NDArray[np.float32] | None:
        mean = mean_of_others(teaching, own=own, site=site)
        if mean is None:
            return None
        scaled = mean / self.temperature
        powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
        return rows_of_sum_one(powers)
