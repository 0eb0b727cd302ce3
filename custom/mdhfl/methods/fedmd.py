"""FedMD: digest the mean of all sites' logits on the public set by L1, then revisit the private images.

Li, Wang: "FedMD: Heterogenous Federated Learning via Model Distillation", 2019, arXiv 1910.03581. Differences, by
necessity: the public set is unlabelled, so the first training is private only; the same public items in every round.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from mdhfl.methods.knowledge_method import KnowledgeMethod
from mdhfl.sharing.knowledge import Kind, Knowledge
from mdhfl.sharing.limits import LARGEST_LOGIT
from mdhfl.sharing.teaching import Teaching, mean_of_all

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class FedMd(KnowledgeMethod):
    """L_align ("digest") = mean |z - mean_j z_j| over all sites j, the own included;  L_local ("revisit") = CE."""

    title: ClassVar[str] = "FedMD"
    summary: ClassVar[str] = "L1 digest of the mean logits of all sites, then local cross-entropy"
    citation: ClassVar[str] = "Li, Wang, 2019, arXiv 1910.03581"
    shares: ClassVar[str | None] = "logits"
    knowledge_kind: ClassVar[Kind] = "logits"
    own_in_teacher: ClassVar[bool] = True

    def express(self, logits: "Tensor") -> "Tensor":
        return logits.clamp(-LARGEST_LOGIT, LARGEST_LOGIT)

    def teacher(self, teaching: Teaching, *, own: Knowledge | None, site: str) -> NDArray[np.float32] | None:
        return mean_of_all(teaching)

    def alignment_loss(self, logits: "Tensor", teacher: "Tensor") -> "Tensor":
        from torch.nn import functional as F

        return F.l1_loss(logits, teacher.detach())

    def training_loss(self, logits: "Tensor", labels: "Tensor") -> "Tensor":
        from torch.nn import functional as F

        return F.cross_entropy(logits, labels)
