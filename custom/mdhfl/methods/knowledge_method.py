"""The family of methods whose sites share knowledge and align to a teacher."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from mdhfl.methods.blind_method import BlindMethod, last_knowledge
from mdhfl.methods.method import Learner, Server
from mdhfl.methods.parameters import parameter
from mdhfl.sharing.accounts import Losses
from mdhfl.sharing.checks import MessageError
from mdhfl.sharing.exchange import Round
from mdhfl.sharing.knowledge import Knowledge, Subject, check_knowledge
from mdhfl.sharing.limits import LARGEST_LOGIT
from mdhfl.sharing.messages import Answer, Request
from mdhfl.sharing.records import Lesson, Shared
from mdhfl.sharing.teaching import Teaching, check_matrix, weighted_sum

if TYPE_CHECKING:
    from torch import Tensor

LARGEST_PROBABILITY = 1.01  # a row that sums to 1 within the tolerance, times a competence


@dataclass(frozen=True, kw_only=True)
class KnowledgeMethod(BlindMethod):
    """A method whose sites share knowledge and align to a teacher."""

    align_epochs: int = parameter(1, "epochs over the public images in each round", at_least=1)

    permission: ClassVar[str | None] = "knowledge"
    answers_with: ClassVar[type[Shared] | None] = Knowledge
    rows_of_weights: ClassVar[int] = 0  # in a blind sum, below a site's knowledge

    def needs_each(self) -> str:
        own, rule = type(self), getattr(self, "robust", "mean")  # of methods that can combine robustly
        if rule != "mean":
            return f"robust={rule}"
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
        return subject.shape[0] + self.rows_of_weights, subject.shape[1]

    def summands(self, knowledge: Knowledge) -> NDArray[np.float64]:
        return knowledge.values.astype(np.float64)

    def lesson_of(self, total: NDArray[np.float64], *, sites: Sequence[str], number: int) -> Lesson:
        return Teaching(values=total.astype(np.float32), weights=dict.fromkeys(sites, 1.0), round=number)

    @property
    def largest(self) -> float:
        return LARGEST_LOGIT if self.knowledge_kind == "logits" else LARGEST_PROBABILITY

    def check(self, answer: Answer, request: Request) -> None:
        super().check(answer, request)
        if self.blind:
            return
        if not isinstance(answer.shared, Knowledge):
            raise MessageError(f"answer from site {answer.site!r}: expected {self.shares}, got none")
        check_knowledge(answer.shared, expected=request.subject, number=request.round)

    def teach(self, last: Round, server: Server) -> Mapping[str, Lesson]:
        if self.blind:
            return super().teach(last, server)
        return self.combine(last.shared, sites=server.sites)

    def differences(self) -> list[str]:
        return ["further gradient steps on the public images (alignment)"]

    def learn(self, lesson: Lesson, learner: Learner) -> float | None:
        found = self.unveiled(lesson, learner)
        if found is None:
            return None
        if not isinstance(found, Teaching):
            return super().learn(found, learner)
        teacher = self.teacher(found, own=last_knowledge(learner), site=learner.site)
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
