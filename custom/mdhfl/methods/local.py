"""Local only: every site trains alone and shares nothing. What any federation must beat."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from mdhfl.methods.method import Method
from mdhfl.methods.parameters import parameter

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Local(Method):
    """Cross-entropy with weights (1, 0), symmetric cross-entropy with both above 0."""

    ce_weight: float = parameter(1.0, "weight of the cross-entropy in the local loss", at_least=0)
    rce_weight: float = parameter(0.0, "weight of the reverse cross-entropy in the local loss", at_least=0)

    title: ClassVar[str] = "local only"
    summary: ClassVar[str] = "every site alone, cross-entropy"

    def training_loss(self, logits: "Tensor", labels: "Tensor") -> "Tensor":
        from mdhfl.losses import symmetric_cross_entropy

        return symmetric_cross_entropy(logits, labels, ce_weight=self.ce_weight, rce_weight=self.rce_weight)
