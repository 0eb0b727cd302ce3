"""FedDF: average within each architecture, then let every average learn from the ensemble of all sites' models.

Lin et al.: "Ensemble Distillation for Robust Model Fusion in Federated Learning", NeurIPS 2020. The original: sites
share weights, and the server trains, on the public set, with a labelled validation part to stop early.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from mdhfl.methods.method import Desk, Lesson, WeightsMethod, require, to_their_sites
from mdhfl.sharing.weights import mean_by_layout

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class FedDf(WeightsMethod):
    """L_distil = KL(softmax(mean over all sites' models j of z_j) || softmax(z)), Adam, cosine schedule.

    Attributes:
        distil_batches: at most so many gradient steps for each architecture and round, at least 1. Paper: 10,000.
        distil_patience: steps without a better validation accuracy after which it stops, at least 1. Paper: 1,000.
        distil_batch_size: public images in a step, at least 2. Paper: 128.
        distil_learning_rate: Adam's at the start, above 0. Paper: 1e-3.
    """

    distil_batches: int
    distil_patience: int
    distil_batch_size: int
    distil_learning_rate: float

    needs_desk: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        require("distil_batches", self.distil_batches, at_least=1)
        require("distil_patience", self.distil_patience, at_least=1)
        require("distil_batch_size", self.distil_batch_size, at_least=2)
        require("distil_learning_rate", self.distil_learning_rate, above=0)

    def teach(
        self, shared: Mapping[str, Any], *, sites: Sequence[str], desk: Desk | None = None
    ) -> Mapping[str, Lesson]:
        if desk is None:
            raise ValueError("FedDF trains at the server: expected its settings (server.json), got none")
        averages = mean_by_layout(shared)
        return to_their_sites(desk.distil(averages, teachers=shared, settings=self), shared=shared, sites=sites)

    def distillation_loss(self, logits: "Tensor", teacher_logits: "Tensor") -> "Tensor":
        """Return KL(softmax(teacher) || softmax(logits)) of (B, C) scores, mean over the batch."""
        from mdhfl.losses import knowledge_divergence

        return knowledge_divergence(logits, teacher_logits.softmax(dim=1), temperature=1.0)

    def check_federation(self, *, bundles: Mapping[str, str], validation: int) -> None:
        if validation < 1:
            raise ValueError(
                "FedDF stops its distillation early on labelled images at the server: expected a federation with a "
                "validation part there, got none; prepare it with --server-validation 200"
            )
