"""Who leads a swarm's round: a draw that every site can repeat, so that nobody can appoint itself."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Member:
    """What the others must know of a site whose model is merged.

    Attributes:
        layout: of its model, see `Weights`.
        images: number of its training images, its weight in the mean.
    """

    layout: str
    images: int


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One merge: who leads it, and whose models of which round it merges.

    Attributes:
        round: whose models are merged.
        attempt: 0, or how many leaders of this round have failed before.
        leader: who merges.
        members: site -> what is known of it.
    """

    round: int
    attempt: int
    leader: str
    members: Mapping[str, Member]

    def group(self, layout: str) -> list[str]:
        """Return the members whose models have a layout, sorted."""
        return sorted(site for site, member in self.members.items() if member.layout == layout)

    def is_alone(self, site: str) -> bool:
        """Return whether nobody else has a member's layout: then it has nothing to merge."""
        return len(self.group(self.members[site].layout)) == 1


def elect(sites: Iterable[str], *, experiment: str, round_: int) -> list[str]:
    """Return the sites in the order in which they lead a round: the next leads if the one before fails."""
    return sorted(sites, key=lambda site: hashlib.sha256(f"{experiment}/{round_}/{site}".encode()).hexdigest())


def keeper_of(turn: Turn, *, experiment: str) -> str:
    """Return who makes the key of an encrypted merge: the next in the order after the leader."""
    order = elect(turn.members, experiment=experiment, round_=turn.round)
    return order[(turn.attempt + 1) % len(order)]


def check_turn(turn: Turn, *, experiment: str, site: str) -> None:
    """Refuse a leader that was not elected.

    Raises:
        ValueError: naming who was, and who claims to be.
    """
    order = elect(turn.members, experiment=experiment, round_=turn.round)
    if not 0 <= turn.attempt < len(order) or order[turn.attempt] != turn.leader:
        expected = order[turn.attempt] if 0 <= turn.attempt < len(order) else "nobody"
        raise ValueError(
            f"site {site!r}: expected {expected!r} to lead attempt {turn.attempt} of round {turn.round}, got "
            f"{turn.leader!r}; a server must not choose the leader"
        )
