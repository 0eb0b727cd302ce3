"""MDH-FL with the geometric mean of the others' answers: the mean of their logits, through one softmax.

Our variant for the question which mean teaches best; not in the paper.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from mdhfl.methods.mdhfl import Mdhfl
from mdhfl.methods.method import Shares
from mdhfl.sharing.knowledge import Knowledge
from mdhfl.sharing.teaching import Teaching, mean_of_others

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class MdhflGeometric(Mdhfl):
    """L_align = KL(softmax(mean over the others j of z_j / temperature) || own)."""

    shares: ClassVar[Shares | None] = "logits"

    def express(self, logits: "Tensor") -> "Tensor":
        return logits

    def teacher(self, teaching: Teaching, *, own: Knowledge | None, site: str) -> NDArray[np.float32] | None:
        mean = mean_of_others(teaching, own=own, site=site)
        if mean is None:
            return None
        scaled = mean / self.temperature
        powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True), dtype=np.float32)
