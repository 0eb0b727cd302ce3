"""The family of methods whose sites share knowledge and align to a teacher."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from mdhfl.methods.blind import masked_round, opened_sum
from mdhfl.methods.method import Learner, Method, Server
from mdhfl.methods.parameters import parameter
from mdhfl.sharing.accounts import Losses
from mdhfl.sharing.checks import MessageError
from mdhfl.sharing.exchange import Round
from mdhfl.sharing.knowledge import Knowledge, Subject, check_knowledge
from mdhfl.sharing.limits import LARGEST_LOGIT
from mdhfl.sharing.masked import BlindTeaching, Opening
from mdhfl.sharing.messages import Answer, Request
from mdhfl.sharing.pledges import BlindRoll, Pledge
from mdhfl.sharing.reasons import Refusal
from mdhfl.sharing.records import Lesson, Shared
from mdhfl.sharing.teaching import Teaching, check_matrix, weighted_sum

if TYPE_CHECKING:
    from torch import Tensor

LARGEST_PROBABILITY = 1.01  # a row that sums to 1 within the tolerance, times a competence


@dataclass(frozen=True, kw_only=True)
class KnowledgeMethod(Method):
    """A method whose sites share knowledge and align to a teacher."""

    align_epochs: int = parameter(1, "epochs over the public images in each round", at_least=1)
    blind: bool = parameter(False, "whether the server adds up masked knowledge, and sees neither a site's nor the sum")

    permission: ClassVar[str | None] = "knowledge"
    answers_with: ClassVar[type[Shared] | None] = Knowledge
    rows_of_weights: ClassVar[int] = 0  # in a blind sum, below a site's knowledge

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.blind and (reason := self.needs_each()):
            raise ValueError(f"blind: expected false with {reason}, which needs each site's knowledge at the server")

    def needs(self) -> str | None:
        return "blind_knowledge" if self.blind else self.permission

    def answer_kind(self) -> type[Shared] | None:
        return Pledge if self.blind else self.answers_with

    def needs_each(self) -> str:
        """Return what needs each site's knowledge by itself, so that no blind sum can serve it; empty for nothing."""
        own = type(self)
        combines = own.combine is not KnowledgeMethod.combine and own.summands is KnowledgeMethod.summands
        weighs = own.teacher_weights is not KnowledgeMethod.teacher_weights
        return own.__name__ if combines or weighs else ""

    @abstractmethod
    def express(self, logits: "Tensor") -> "Tensor":
        """Turn (B, C) logits on public images into what the site shares."""

    @abstractmethod
    def teacher(self, teaching: Teaching, *, own: Knowledge | None, site: str) -> NDArray[np.float32] | None:
        """Return the (N, C) knowledge that a site learns from, None if nobody else taught."""

    @abstractmethod
    def alignment_loss(self, logits: "Tensor", teacher: "Tensor") -> "Tensor":
        """Return the loss of (B, C) logits against (B, C) rows of the teacher, mean over the batch."""

    def teacher_weights(self, shared: Mapping[str, Knowledge]) -> dict[str, float]:
        """Return how much each site's knowledge counts in the sum that is sent to everybody, above 0."""
        return dict.fromkeys(shared, 1.0)

    def confidence(self, *, before: float | None, now: float | None) -> float:
        """Return what a site reports beside its knowledge, from its local losses of the last round and this one."""
        return 1.0

    def combine(self, shared: Mapping[str, Any], *, sites: Sequence[str]) -> Mapping[str, Lesson]:
        """Combine the sites' checked knowledge into a lesson per site. Pure."""
        if not shared:
            return {}
        return dict.fromkeys(sites, weighted_sum(shared, weights=self.teacher_weights(shared)))

    def common_teacher(self, shared: Mapping[str, Any]) -> NDArray[np.float32] | None:
        """Return the (N, C) knowledge that a site learns from which has shared nothing itself; None if nobody has."""
        lesson = self.combine(shared, sites=("",)).get("")
        return None if lesson is None else self._teacher_of(lesson)

    def _teacher_of(self, lesson: Lesson) -> NDArray[np.float32] | None:
        return self.teacher(lesson, own=None, site="") if isinstance(lesson, Teaching) else None

    # as a blind sum, see docs/blind.md

    def summand_shape(self, subject: Subject) -> tuple[int, int]:
        """Return the shape of `summands`."""
        return subject.shape[0] + self.rows_of_weights, subject.shape[1]

    def summands(self, knowledge: Knowledge) -> NDArray[np.float64]:
        """Return what a site adds to a blind sum: (V * N, C) numbers, with a row of weights below if there are any."""
        return knowledge.values.astype(np.float64)

    def lesson_of(self, total: NDArray[np.float64], *, sites: Sequence[str], number: int) -> Lesson:
        """Return the lesson that `combine` would have made: of a sum of `summands`, of these sites and this round."""
        return Teaching(values=total.astype(np.float32), weights=dict.fromkeys(sites, 1.0), round=number)

    @property
    def largest(self) -> float:
        """The size of the numbers in a blind sum."""
        return LARGEST_LOGIT if self.knowledge_kind == "logits" else LARGEST_PROBABILITY

    def unveiled(self, lesson: Lesson, learner: Learner) -> Lesson:
        """Return what a site learns from: a blind sum as it can read it, checked; any other lesson as it is.

        Raises:
            ValueError: there is to be a blind sum and this is none; or it cannot be read, or is not one of knowledge.
        """
        if not self.blind:
            return lesson
        if not isinstance(lesson, BlindTeaching):
            raise ValueError(f"site {learner.site!r}: expected a blind teaching, got {lesson.kind}")
        own, subject = _last_knowledge(learner), learner.request.subject
        total = learner.blinding().read(lesson, own, largest=self.largest)
        if own is not None and subject.kind == "probabilities" and learner.site in lesson.sites:
            least = float((total - self.summands(own)).min())
            if least < -1e-6 * len(lesson.sites):
                raise MessageError(
                    f"site {learner.site!r}: the blind sum does not hold what this site added: without it {least:.4g} "
                    "is left of a sum of probabilities"
                )
        found = self.lesson_of(total, sites=lesson.sites, number=lesson.round)
        found.check(kind=subject.kind, shape=subject.shape)
        return found

    def let_out(self, shared: Shared | None, learner: Learner) -> Shared | None:
        if not self.blind or not isinstance(shared, Knowledge):
            return shared
        pledge: Pledge = learner.blinding().pledge(shared)
        return pledge

    def draw(self, learner: Learner) -> Shared:
        """Mask the last knowledge for a blind sum, or help to open one."""
        lesson, own = learner.request.lesson, _last_knowledge(learner)
        if not self.blind or own is None:
            return super().draw(learner)
        try:
            found: Shared
            if isinstance(lesson, BlindRoll):
                found = learner.blinding().masked(lesson, own, numbers=self.summands(own), largest=self.largest)
            elif isinstance(lesson, Opening):
                found = learner.blinding().opened(lesson, own)
            else:
                raise MessageError(f"expected a blind sum to take part in, got {getattr(lesson, 'kind', 'nothing')}")
        except ValueError as error:
            if isinstance(error, Refusal):
                raise
            raise Refusal("blind", str(error)) from error
        return found

    def complete(self, finished: Round, server: Server) -> Round:
        if not self.blind or not self.teaches():
            return finished
        subject = next(iter(finished.requests.values())).subject
        return masked_round(finished, server, subject=subject, shape=self.summand_shape(subject))

    def teaches(self) -> bool:
        """Return whether anybody learns from what is shared."""
        return True

    # at the server

    def check(self, answer: Answer, request: Request) -> None:
        super().check(answer, request)
        if self.blind:
            if not isinstance(answer.shared, Pledge):
                raise MessageError(f"answer from site {answer.site!r}: expected a pledge, got none")
            answer.shared.check(experiment=request.experiment, subject=request.subject)
            return
        if not isinstance(answer.shared, Knowledge):
            raise MessageError(f"answer from site {answer.site!r}: expected {self.shares}, got none")
        check_knowledge(answer.shared, expected=request.subject, number=request.round)

    def teach(self, last: Round, server: Server) -> Mapping[str, Lesson]:
        if self.blind:
            return opened_sum(last, server, subject=next(iter(last.requests.values())).subject)
        return self.combine(last.shared, sites=server.sites)

    def differences(self) -> list[str]:
        return ["further gradient steps on the public images (alignment)"]

    def learn(self, lesson: Lesson, learner: Learner) -> float | None:
        lesson = self.unveiled(lesson, learner)
        if not isinstance(lesson, Teaching):
            return super().learn(lesson, learner)
        teacher = self.teacher(lesson, own=_last_knowledge(learner), site=learner.site)
        if teacher is None:
            return None
        check_matrix(teacher, shape=learner.request.subject.shape, what="teacher")
        import torch

        return learner.align(torch.from_numpy(teacher), loss=self.alignment_loss, epochs=self.align_epochs)

    def share(self, learner: Learner, *, losses: Losses) -> Shared | None:
        before = learner.last.losses.train if learner.last else None
        return Knowledge(
            values=self.express(learner.answers()).numpy().astype(np.float32),
            subject=learner.request.subject,
            site=learner.site,
            round=learner.request.round,
            confidence=self.confidence(before=before, now=losses.train),
        )


def _last_knowledge(learner: Learner) -> Knowledge | None:
    last = learner.last.shared if learner.last else None
    return last if isinstance(last, Knowledge) else None
