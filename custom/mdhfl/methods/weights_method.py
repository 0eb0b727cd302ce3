"""The family of methods whose sites share their weights with the server and adopt a merged model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from mdhfl.methods.method import Method
from mdhfl.methods.parameters import parameter
from mdhfl.methods.parties import Learner, Server
from mdhfl.sharing.accounts import Losses
from mdhfl.sharing.checks import MessageError
from mdhfl.sharing.exchange import Round
from mdhfl.sharing.messages import Answer, Request
from mdhfl.sharing.records import Lesson, Shared
from mdhfl.sharing.weights import Merged, Weights, check_weights, layouts_of, mean_by_layout, misfits

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class WeightsMethod(Method):
    """A method whose sites share their weights and adopt the mean of all that have the same layout."""

    grouped: bool = parameter(False, "whether sites may differ in architecture; then each is averaged by itself")

    shares: ClassVar[str | None] = "weights"
    permission: ClassVar[str | None] = "weights"
    answers_with: ClassVar[type[Shared] | None] = Weights

    def training_loss(self, logits: "Tensor", labels: "Tensor") -> "Tensor":
        from torch.nn import functional as F

        return F.cross_entropy(logits, labels)

    def combine(self, shared: Mapping[str, Any], *, sites: Sequence[str]) -> Mapping[str, Lesson]:
        """Average the sites' checked weights into a lesson per site. Pure."""
        groups = layouts_of(shared)
        if len(groups) > 1 and not self.grouped:
            raise ValueError(_other_architectures(type(self).__name__, [", ".join(g) for g in groups.values()]))
        return to_their_sites(mean_by_layout(shared), shared=shared, sites=sites)

    def check(self, answer: Answer, request: Request) -> None:
        super().check(answer, request)
        if request.action == "adopt":
            if answer.shared is not None:
                raise MessageError(f"answer from site {answer.site!r}: expected nothing shared, got weights")
            return
        if not isinstance(answer.shared, Weights):
            raise MessageError(f"answer from site {answer.site!r}: expected weights, got none")
        check_weights(answer.shared, number=request.round)
        said = None if answer.about is None else answer.about.training_images
        if answer.shared.images != said:
            raise MessageError(
                f"weights from site {answer.site!r}: expected the number of training images that the answer is about, "
                f"{said}, got {answer.shared.images}"
            )

    def check_together(self, shared: Mapping[str, Any]) -> dict[str, str]:
        return misfits(shared, one_layout=not self.grouped)

    def teach(self, last: Round, server: Server) -> Mapping[str, Lesson]:
        return self.combine(last.shared, sites=server.sites)

    def last_round(self, rounds: int) -> int:
        return rounds + 1  # which only adopts the last merged model

    def check_federation(self, *, bundles: Mapping[str, str], validation: int) -> None:
        if len(set(bundles.values())) > 1 and not self.grouped:
            raise ValueError(_other_architectures(type(self).__name__, sorted(set(bundles.values()))))

    def differences(self) -> list[str]:
        return ["common initial weights; scored on the merged model, after the last merge"]

    def initial_seed(self, *, common: int, own: int) -> int:
        return common

    def learn(self, lesson: Lesson, learner: Learner) -> float | None:
        if not isinstance(lesson, Merged):
            return super().learn(lesson, learner)
        learner.adopt(lesson)
        return None

    def share(self, learner: Learner, *, losses: Losses) -> Shared | None:
        return None if learner.request.action == "adopt" else learner.weights()


def to_their_sites(
    merged: Mapping[str, Merged], *, shared: Mapping[str, Weights], sites: Sequence[str]
) -> dict[str, Lesson]:
    """Give each site the merged model of its layout; a site that missed the round gets it if there is only one."""
    lessons: dict[str, Lesson] = {site: merged[weights.layout] for site, weights in shared.items()}
    if len(merged) == 1:
        return dict.fromkeys(sites, next(iter(merged.values())))
    return lessons


def _other_architectures(method: str, groups: Sequence[str]) -> str:
    return (
        f"{method} averages weights: expected one architecture, got {len(groups)} ({'; '.join(groups)}); give all "
        "sites one bundle (--bundles), or average within each architecture (--set grouped=true)"
    )
