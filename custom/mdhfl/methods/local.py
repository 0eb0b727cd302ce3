"""Local only: every site trains alone and shares nothing. What any federation must beat."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mdhfl.methods.method import Method, require

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Local(Method):
    """Cross-entropy with weights (1, 0), symmetric cross-entropy with both above 0.

    Attributes:
        ce_weight: of the cross-entropy, at least 0.
        rce_weight: of the reverse cross-entropy, at least 0.
    """

    ce_weight: float
    rce_weight: float

    def __post_init__(self) -> None:
        super().__post_init__()
        require("ce_weight", self.ce_weight, at_least=0)
        require("rce_weight", self.rce_weight, at_least=0)

    def training_loss(self, logits: "Tensor", labels: "Tensor") -> "Tensor":
        from mdhfl.losses import symmetric_cross_entropy

        return symmetric_cross_entropy(logits, labels, ce_weight=self.ce_weight, rce_weight=self.rce_weight)
