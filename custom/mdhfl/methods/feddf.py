"""FedDF: average within each architecture, then let every average learn from the ensemble of all sites' models.

Lin et al.: "Ensemble Distillation for Robust Model Fusion in Federated Learning", NeurIPS 2020. The original: sites
share weights, and the server trains, on the public set, with a labelled validation part to stop early.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from mdhfl.methods.parameters import parameter
from mdhfl.methods.parties import Server
from mdhfl.methods.weights_method import WeightsMethod, to_their_sites
from mdhfl.sharing.exchange import Round
from mdhfl.sharing.messages import Answer
from mdhfl.sharing.records import Lesson
from mdhfl.sharing.weights import Weights, mean_by_layout

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class FedDf(WeightsMethod):
    """L_distil = KL(softmax(mean over all sites' models j of z_j) || softmax(z)), Adam, cosine schedule."""

    grouped: bool = parameter(True, "whether sites may differ in architecture; then each is averaged by itself")
    distil_batches: int = parameter(10000, "most gradient steps per architecture and round at the server", at_least=1)
    distil_patience: int = parameter(1000, "steps without a better validation accuracy until it stops", at_least=1)
    distil_batch_size: int = parameter(128, "public images in a step of the server", at_least=2)
    distil_learning_rate: float = parameter(0.001, "Adam's learning rate at the start, at the server", above=0)

    title: ClassVar[str] = "FedDF (shares weights)"
    summary: ClassVar[str] = "weights leave the sites; averages learn from all models at the server"
    citation: ClassVar[str] = "Lin et al., NeurIPS 2020"

    def try_out(self, answer: Answer, server: Server) -> None:
        if isinstance(answer.shared, Weights):
            server.trainer().try_out(answer.shared)

    def teach(self, last: Round, server: Server) -> Mapping[str, Lesson]:
        shared = {site: weights for site, weights in last.shared.items() if isinstance(weights, Weights)}
        distilled = server.trainer().distil(mean_by_layout(shared), teachers=shared, settings=self)
        return to_their_sites(distilled, shared=shared, sites=server.sites)

    def distillation_loss(self, logits: "Tensor", teacher_logits: "Tensor") -> "Tensor":
        """Return KL(softmax(teacher) || softmax(logits)) of (B, C) scores, mean over the batch."""
        from mdhfl.losses import knowledge_divergence

        return knowledge_divergence(logits, teacher_logits.softmax(dim=1), temperature=1.0)

    def check_federation(self, *, bundles: Mapping[str, str], validation: int) -> None:
        super().check_federation(bundles=bundles, validation=validation)
        if validation < 1:
            raise ValueError(
                "FedDF stops its distillation early on labelled images at the server: expected a federation with a "
                "validation part there, got none; prepare it with --server-validation 200"
            )

    def differences(self) -> list[str]:
        return [*super().differences(), "gradient steps and labelled validation images at the server"]
