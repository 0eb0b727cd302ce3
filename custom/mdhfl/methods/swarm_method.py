"""The family of methods whose sites merge among themselves: a leader, drawn anew each round, and no server in it.

The server calls the sites to the draw, carries their lots, and tells the leader that it leads. It sees no weights.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from mdhfl.methods.parties import Learner, Server
from mdhfl.methods.weights_method import WeightsMethod
from mdhfl.sharing.accounts import Losses
from mdhfl.sharing.checks import MessageError
from mdhfl.sharing.exchange import Round
from mdhfl.sharing.lots import Lot
from mdhfl.sharing.messages import Action, Answer, Request
from mdhfl.sharing.reasons import Refusal
from mdhfl.sharing.records import Lesson, Shared
from mdhfl.sharing.turns import Commitment, MergeTurn, Roll, opens

PASSES = 2  # through the sites: one that did not answer is called once more


class NoLeader(RuntimeError):
    """No site could lead a merge. Everything before this round is recorded."""


@dataclass(frozen=True, kw_only=True)
class SwarmMethod(WeightsMethod):
    """A method whose sites send their weights to a leader among them, plain or encrypted."""

    shares: ClassVar[str | None] = "peer weights"
    answers_with: ClassVar[type[Shared] | None] = Lot
    repeats_rounds: ClassVar[bool] = False  # a merge lives among the sites
    encrypted: ClassVar[bool] = False
    least_sites: ClassVar[int] = 2

    def check(self, answer: Answer, request: Request) -> None:
        if answer.shared is not None:
            raise MessageError(
                f"answer from site {answer.site!r}: holds {answer.shared.kind}, which this method does not share here"
            )

    def teach(self, last: Round, server: Server) -> Mapping[str, Lesson]:
        """Let the sites draw a leader, which merges the last round's models; if it fails, draw again without it.

        Raises:
            NoLeader: too few sites are left to draw, with everybody's reasons.
        """
        caller = _Caller(server=server, number=last.number, least=self.least_sites)
        for _ in range(PASSES):
            turn = caller.turn()
            if turn is not None:
                return dict.fromkeys(server.sites, turn)
        reasons = "; ".join(f"{site}: {reason}" for site, reason in sorted(caller.reasons.items()))
        raise NoLeader(
            f"round {last.number}: expected one of {len(server.sites)} sites to merge the models, none could "
            f"({reasons}). Fix the sites, then resume: nothing recorded is lost"
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
        swarm = learner.swarm(encrypted=self.encrypted)
        merged = swarm.take(lesson)
        if learner.request.action == "adopt" and not swarm.merged_by:
            raise Refusal(
                "missed_merge",
                f"site {learner.site!r}: the last merge, led by {lesson.leader!r}, did not reach this site; its model "
                f"is still that of round {lesson.round}, before the merge",
            )
        if merged is not None:
            learner.adopt(merged)
        return None

    def share(self, learner: Learner, *, losses: Losses) -> Shared | None:
        return None

    def draw(self, learner: Learner) -> Shared:
        lot: Lot = learner.swarm(encrypted=self.encrypted).draw(learner.request, learner.weights(), last=learner.last)
        return lot

    def lead(self, learner: Learner) -> None:
        learner.swarm(encrypted=self.encrypted).lead(learner.request, learner.weights())

    def receive(self, sender: str, message: Mapping[str, Any], learner: Learner) -> dict[str, Any]:
        swarm = learner.swarm(encrypted=self.encrypted)
        reply: dict[str, Any] = swarm.receive(sender, message, learner.request, learner.weights())
        return reply


@dataclass(kw_only=True)
class _Caller:
    """The server's part in a draw: it calls, collects and passes on.

    Attributes:
        server: asks the sites.
        number: of the round whose models are merged.
        least: how many sites a merge needs.
        reasons: why a site has no part, by site.
    """

    server: Server
    number: int
    least: int
    reasons: dict[str, str] = field(default_factory=dict)

    def turn(self) -> MergeTurn | None:
        """Return the turn of a merge that is done; None if too few sites are left."""
        sites = tuple(sorted(self.server.sites))
        needed = max(self.least, len(sites) // 2 + 1)
        while len(sites) >= needed:
            roll = Roll(round=self.number, roster=tuple(sorted(self.server.sites)), sites=sites)
            lots = self._lots(sites, "commit", roll)
            if (decided := _decided(lots)) is not None:
                return decided
            commitments = self._commitments(lots)
            if len(commitments) == len(sites):
                turn = self._revealed(MergeTurn.of(roll, commitments, {}))
                if set(turn.nonces) == set(sites):
                    if self._is_led(turn):
                        return turn
                    sites = tuple(site for site in sites if site != turn.leader)
                    continue
                commitments = {site: commitments[site] for site in turn.nonces}
            sites = tuple(sorted(commitments))
        return None

    def _commitments(self, lots: Mapping[str, Lot]) -> dict[str, Commitment]:
        past = [site for site, lot in lots.items() if lot.commitment is None]
        self.reasons.update(dict.fromkeys(past, f"is past round {self.number}, without its merge"))
        return {site: lot.commitment for site, lot in lots.items() if lot.commitment is not None}

    def _revealed(self, turn: MergeTurn) -> MergeTurn:
        """Ask for the numbers; leave out who reveals none, another, or is accepted by no other."""
        if unsigned := turn.unsigned(experiment=self.server.experiment):
            self.reasons.update(dict.fromkeys(unsigned, "its commitment is not signed with its key"))
            return MergeTurn.of(turn.roll, turn.commitments, dict.fromkeys(set(turn.commitments) - set(unsigned), ""))
        lots = self._lots(turn.roll.sites, "reveal", turn)
        if accused := {site for lot in lots.values() for site in lot.against}:
            judges = {site for site, lot in lots.items() if accused & set(lot.against)}
            self.reasons.update(dict.fromkeys(accused, f"has another key than in the ledger of {', '.join(judges)}"))
            kept = set(lots) - (accused if 2 * len(judges) >= len(lots) else judges)
            return MergeTurn.of(turn.roll, turn.commitments, dict.fromkeys(kept, ""))
        nonces = {}
        for site, lot in lots.items():
            if opens(turn.commitments[site], lot.nonce):
                nonces[site] = lot.nonce
            else:
                self.reasons[site] = "did not reveal the number that it committed to"
        return MergeTurn.of(turn.roll, turn.commitments, nonces)

    def _is_led(self, turn: MergeTurn) -> bool:
        answer = self.server.ask([turn.leader], "merge", turn).get(turn.leader)
        if answer is not None and not answer.refusal:
            return True
        self.reasons[turn.leader] = answer.refusal if answer is not None else "no answer before the deadline"
        return False

    def _lots(self, sites: Sequence[str], action: Action, lesson: Lesson) -> dict[str, Lot]:
        """Ask for lots; note why a site gave none."""
        lots = {}
        answers = self.server.ask(sites, action, lesson)
        for site in sites:
            answer = answers.get(site)
            if answer is not None and not answer.refusal and isinstance(answer.shared, Lot):
                lots[site] = answer.shared
            else:
                got = "sent no lot" if answer is not None else "no answer before the deadline"
                self.reasons[site] = answer.refusal or got if answer is not None else got
        return lots


def _decided(lots: Mapping[str, Lot]) -> MergeTurn | None:
    """Return the turn of a merge that was done before: a member has learned from it, or all members keep it."""
    for lot in lots.values():
        if lot.taken and lot.held is not None:
            return lot.held
    for lot in lots.values():
        held = lot.held
        if held is not None and all(site in lots and lots[site].held == held for site in held.commitments):
            return held
    return None
