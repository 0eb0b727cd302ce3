"""The family of methods whose server may be blind: it gets the sum of what the sites share, and cannot read it.

With `blind`, a site answers with a pledge and keeps its knowledge. Between two rounds the sites send their numbers,
masked, help to take the masks off the sum, and read the sum that the server broadcasts. docs/blind.md has the whole.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mdhfl.methods.blind import masked_round, opened_sum
from mdhfl.methods.method import Method
from mdhfl.methods.parameters import parameter
from mdhfl.methods.parties import Learner, Server
from mdhfl.sharing.checks import MessageError
from mdhfl.sharing.exchange import Round
from mdhfl.sharing.knowledge import Knowledge, Subject
from mdhfl.sharing.masked import BlindTeaching, Opening
from mdhfl.sharing.messages import Answer, Request
from mdhfl.sharing.pledges import BlindRoll, Pledge
from mdhfl.sharing.reasons import Refusal
from mdhfl.sharing.records import Lesson, Shared

PERMISSION = "blind_knowledge"  # what a site's IT must allow
ROUNDING = 1e-6  # of what a site adds to a sum of probabilities


@dataclass(frozen=True, kw_only=True)
class BlindMethod(Method):
    """A method that teaches with a sum, which may be blind."""

    blind: bool = parameter(
        False, "whether the server adds up masked knowledge, and sees neither a site's nor the sum", later=True
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.blind and (reason := self.needs_each()):
            raise ValueError(f"blind: expected false with {reason}, which needs each site's knowledge at the server")

    @abstractmethod
    def summands(self, knowledge: Knowledge) -> NDArray[np.float64]:
        """Return what a site adds to a blind sum: (V * N, C) numbers, with a row of weights below if there are any."""

    @abstractmethod
    def summand_shape(self, subject: Subject) -> tuple[int, int]:
        """Return the shape of `summands`."""

    @property
    @abstractmethod
    def largest(self) -> float:
        """The size of a summand."""

    @abstractmethod
    def lesson_of(self, total: NDArray[np.float64], *, sites: Sequence[str], number: int) -> Lesson:
        """Return the lesson that a server makes which sees all: of a sum of `summands`, of these sites and round."""

    def needs_each(self) -> str:
        """Return what needs each site's knowledge by itself, so that no blind sum can serve it; empty for nothing."""
        return ""

    def teaches(self) -> bool:
        """Return whether anybody learns from what is shared."""
        return True

    def needs(self) -> str | None:
        return PERMISSION if self.blind else super().needs()

    def answer_kind(self) -> type[Shared] | None:
        return Pledge if self.blind else super().answer_kind()

    # at the server

    def check(self, answer: Answer, request: Request) -> None:
        super().check(answer, request)
        if self.blind:
            if not isinstance(answer.shared, Pledge):
                raise MessageError(f"answer from site {answer.site!r}: expected a pledge, got none")
            answer.shared.check(experiment=request.experiment, subject=request.subject)

    def complete(self, finished: Round, server: Server) -> Round:
        if not self.blind or not self.teaches():
            return finished
        subject = _subject_of(finished)
        return masked_round(finished, server, subject=subject, shape=self.summand_shape(subject))

    def teach(self, last: Round, server: Server) -> Mapping[str, Lesson]:
        return opened_sum(last, server, subject=_subject_of(last)) if self.blind else {}

    # at a site

    def let_out(self, shared: Shared | None, learner: Learner) -> Shared | None:
        if not self.blind or not isinstance(shared, Knowledge):
            return shared
        pledge: Pledge = learner.blinding().pledge(shared)
        return pledge

    def draw(self, learner: Learner) -> Shared:
        """Mask the last knowledge for a blind sum, or help to open one."""
        lesson, own = learner.request.lesson, last_knowledge(learner)
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

    def unveiled(self, lesson: Lesson, learner: Learner) -> Lesson | None:
        """Return what a site learns from: a blind sum as it can read it; any other lesson as it is.

        None for a sum that is not one of knowledge: any of its sites may have spoilt it, and nobody can tell which. The
        site notes it and trains that round alone, so that no site can end the others' experiment.

        Raises:
            ValueError: there is to be a blind sum and this is none, or one that this site has no part in.
        """
        if not self.blind:
            return lesson
        if not isinstance(lesson, BlindTeaching):
            raise ValueError(f"site {learner.site!r}: expected a blind teaching, got {lesson.kind}")
        shape = self.summand_shape(learner.request.subject)
        if lesson.values.shape != shape:
            raise ValueError(f"site {learner.site!r}: expected a blind sum of shape {shape}, got {lesson.values.shape}")
        try:
            return self._read(lesson, learner)
        except MessageError as error:
            learner.note(error)
            return None

    def _read(self, lesson: BlindTeaching, learner: Learner) -> Lesson:
        """Return what a blind sum says. Raises MessageError: it is not a sum of knowledge with the site's own in it."""
        subject, own = learner.request.subject, last_knowledge(learner)
        total = learner.blinding().read(lesson, own, largest=self.largest)
        if own is not None and subject.kind == "probabilities" and learner.site in lesson.sites:
            least = float((total - self.summands(own)).min())
            if least < -ROUNDING * len(lesson.sites):
                raise MessageError(
                    f"site {learner.site!r}: the blind sum does not hold what this site added: without it {least:.4g} "
                    "is left of a sum of probabilities"
                )
        found = self.lesson_of(total, sites=lesson.sites, number=lesson.round)
        found.check(kind=subject.kind, shape=subject.shape)
        return found


def last_knowledge(learner: Learner) -> Knowledge | None:
    """Return what a site has shared last, as it keeps it; None if it has shared nothing."""
    last = learner.last.shared if learner.last else None
    return last if isinstance(last, Knowledge) else None


def _subject_of(round_: Round) -> Subject:
    return next(iter(round_.requests.values())).subject
