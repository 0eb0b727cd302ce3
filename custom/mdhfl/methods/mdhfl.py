"""MDH-FL: align to the others' mean knowledge by KL divergence, train locally by symmetric cross-entropy.

Madni, Umer, Foresti: "Federated Learning for Data and Model Heterogeneity in Medical Imaging", ICIAP 2023 workshops,
arXiv 2308.00155. One difference, by necessity of a network: knowledge is exchanged once a round, not once a batch.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from mdhfl.methods.knowledge_method import KnowledgeMethod
from mdhfl.methods.parameters import parameter
from mdhfl.sharing.knowledge import Knowledge
from mdhfl.sharing.teaching import Teaching, leave_one_out

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Mdhfl(KnowledgeMethod):
    """L_local = ce_weight * CE + rce_weight * RCE;  L_align = mean over the others j of KL(K_j || own)."""

    temperature: float = parameter(1.0, "temperature of the softmax that makes knowledge", above=0)
    ce_weight: float = parameter(0.1, "weight of the cross-entropy in the local loss", at_least=0)
    rce_weight: float = parameter(1.0, "weight of the reverse cross-entropy in the local loss", at_least=0)

    title: ClassVar[str] = "MDH-FL"
    summary: ClassVar[str] = "KL alignment to the others' mean knowledge, local symmetric cross-entropy"
    citation: ClassVar[str] = "Madni, Umer, Foresti, ICIAP 2023 Workshops, arXiv 2308.00155"
    shares: ClassVar[str | None] = "probabilities"

    def express(self, logits: "Tensor") -> "Tensor":
        return (logits / self.temperature).softmax(dim=1)

    def teacher(self, teaching: Teaching, *, own: Knowledge | None, site: str) -> NDArray[np.float32] | None:
        return leave_one_out(teaching, own=own, site=site)

    def alignment_loss(self, logits: "Tensor", teacher: "Tensor") -> "Tensor":
        from mdhfl.losses import knowledge_divergence

        return knowledge_divergence(logits, teacher, temperature=self.temperature)

    def training_loss(self, logits: "Tensor", labels: "Tensor") -> "Tensor":
        from mdhfl.losses import symmetric_cross_entropy

        return symmetric_cross_entropy(logits, labels, ce_weight=self.ce_weight, rce_weight=self.rce_weight)
