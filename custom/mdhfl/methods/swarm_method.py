"""The family of methods whose sites merge among themselves: a leader, elected anew each round, and no server in it.

The server only says whose turn it is, and asks the next site if a leader fails. It sees no weights.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from mdhfl.methods.method import Learner, Server
from mdhfl.methods.weights_method import WeightsMethod
from mdhfl.sharing.accounts import Losses
from mdhfl.sharing.checks import MessageError
from mdhfl.sharing.exchange import Round
from mdhfl.sharing.messages import Answer, Request
from mdhfl.sharing.records import Lesson, Shared
from mdhfl.sharing.turns import Member, MergeTurn, elect


class NoLeader(RuntimeError):
    """No site could lead a merge. Everything before this round is recorded."""


@dataclass(frozen=True, kw_only=True)
class SwarmMethod(WeightsMethod):
    """A method whose sites send their weights to a leader among them, plain or encrypted."""

    shares: ClassVar[str | None] = "peer weights"
    answers_with: ClassVar[type[Shared] | None] = None
    repeats_rounds: ClassVar[bool] = False  # a merge lives among the sites
    encrypted: ClassVar[bool] = False
    least_sites: ClassVar[int] = 2

    def check(self, answer: Answer, request: Request) -> None:
        if answer.shared is not None:
            raise MessageError(
                f"answer from site {answer.site!r}: holds {answer.shared.kind}, which this method does not share"
            )
        member_of(answer)

    def teach(self, last: Round, server: Server) -> Mapping[str, Lesson]:
        """Let the elected leader merge the last round's models; if it fails, the next one.

        Raises:
            NoLeader: every member failed, each with its reason.
        """
        members = {site: member_of(answer) for site, answer in last.good.items()}
        reasons = []
        for attempt, leader in enumerate(elect(members, experiment=server.experiment, number=last.number)):
            turn = MergeTurn(round=last.number, attempt=attempt, leader=leader, members=members)
            answer = server.ask_one(leader, "merge", turn)
            if answer is not None and not answer.refusal:
                return dict.fromkeys(server.sites, turn)
            reasons.append(f"{leader}: {answer.refusal if answer else 'no answer before the deadline'}")
        raise NoLeader(
            f"round {last.number}: expected one of {len(members)} sites to merge the models, all failed "
            f"({'; '.join(reasons)}). Fix the sites, then resume: nothing recorded is lost"
        )

    def check_federation(self, *, bundles: Mapping[str, str], validation: int) -> None:
        if len(bundles) < self.least_sites:
            raise ValueError(
                f"{type(self).__name__}: a swarm expects at least {self.least_sites} sites, got {len(bundles)}; use "
                "`local` for one site alone"
            )
        super().check_federation(bundles=bundles, validation=validation)

    def learn(self, lesson: Lesson, learner: Learner) -> float | None:
        if not isinstance(lesson, MergeTurn):
            raise ValueError(f"site {learner.site!r}: expected a merge turn, got {lesson.kind}")
        merged = learner.swarm(encrypted=self.encrypted).take(lesson)
        if merged is not None:
            learner.adopt(merged)
        return None

    def share(self, learner: Learner, *, losses: Losses) -> Shared | None:
        return None

    def lead(self, learner: Learner) -> None:
        learner.swarm(encrypted=self.encrypted).lead(learner.request, learner.weights())

    def receive(self, sender: str, message: Mapping[str, Any], learner: Learner) -> dict[str, Any]:
        swarm = learner.swarm(encrypted=self.encrypted)
        reply: dict[str, Any] = swarm.receive(sender, message, learner.request, learner.weights())
        return reply


def member_of(answer: Answer) -> Member:
    """Return what a site's answer says about the model that it would share.

    Raises:
        MessageError: nothing that can be merged: no layout, or no number of training images.
    """
    about = answer.about
    if about is None or not about.layout or about.training_images < 1:
        got = "nothing" if about is None else f"{about.layout!r} and {about.training_images!r}"
        raise MessageError(
            f"answer from site {answer.site!r}: expected its network's layout and at least 1 training image, got {got}"
        )
    return Member(layout=about.layout, images=about.training_images)
