"""MDH-FL: align to the others' mean knowledge by KL divergence, train locally by symmetric cross-entropy.

Madni, Umer, Foresti: "Federated Learning for Data and Model Heterogeneity in Medical Imaging", ICIAP 2023 workshops,
arXiv 2308.00155. One difference, by necessity of a network: knowledge is exchanged once a round, not once a batch.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from mdhfl.methods.method import KnowledgeMethod, Shares, require
from mdhfl.sharing.knowledge import Knowledge
from mdhfl.sharing.teaching import Teaching, leave_one_out

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Mdhfl(KnowledgeMethod):
    """L_local = ce_weight * CE + rce_weight * RCE;  L_align = mean over the others j of KL(K_j || own).

    Attributes:
        temperature: of the softmax that makes knowledge, above 0. Paper: 1.
        ce_weight: of the cross-entropy, at least 0. Paper: 0.1.
        rce_weight: of the reverse cross-entropy, at least 0. Paper: 1.0.
    """

    temperature: float
    ce_weight: float
    rce_weight: float

    shares: ClassVar[Shares | None] = "probabilities"

    def __post_init__(self) -> None:
        super().__post_init__()
        require("temperature", self.temperature, above=0)
        require("ce_weight", self.ce_weight, at_least=0)
        require("rce_weight", self.rce_weight, at_least=0)

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
