"""Who leads a swarm's round: a draw that every site can repeat, so that nobody can appoint itself."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from mdhfl.sharing.checks import MessageError, count, record, text
from mdhfl.sharing.records import Lesson


@dataclass(frozen=True, kw_only=True)
class Member:
    """What the others must know of a site whose model is merged.

    Attributes:
        layout: of its model, see `Weights`.
        images: number of its training images, its weight in the mean.
    """

    layout: str
    images: int

    @classmethod
    def from_wire(cls, wire: Any) -> "Member":
        """Rebuild a member. Raises MessageError."""
        values = record(wire, what="member", fields=cls.__dataclass_fields__)
        return cls(
            layout=text(values["layout"], what="member's layout"),
            images=count(values["images"], what="member's number of training images", low=1),
        )


@dataclass(frozen=True, kw_only=True)
class MergeTurn(Lesson, kind="merge_turn"):
    """One merge: who leads it, and whose models of which round it merges.

    Attributes:
        attempt: 0, or how many leaders of this round have failed before.
        leader: who merges.
        members: site -> what is known of it.
    """

    attempt: int
    leader: str
    members: Mapping[str, Member]

    def to_wire(self) -> dict[str, Any]:
        """Return plain values."""
        return {**super().to_wire(), "members": {site: asdict(member) for site, member in self.members.items()}}

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any], **known: Any) -> "MergeTurn":
        """Rebuild a turn. Raises MessageError."""
        values = record(wire, what="merge turn", fields=cls.sent())
        if not isinstance(values["members"], Mapping):
            raise MessageError(f"merge turn: expected its members, got {type(values['members']).__name__}")
        return cls(
            round=count(values["round"], what="merge turn's round"),
            attempt=count(values["attempt"], what="merge turn's attempt"),
            leader=text(values["leader"], what="merge turn's leader"),
            members={
                text(site, what="merge turn's member"): Member.from_wire(member)
                for site, member in values["members"].items()
            },
        )

    def group(self, layout: str) -> list[str]:
        """Return the members whose models have a layout, sorted."""
        return sorted(site for site, member in self.members.items() if member.layout == layout)

    def is_alone(self, site: str) -> bool:
        """Return whether nobody else has a member's layout: then it has nothing to merge."""
        return len(self.group(self.members[site].layout)) == 1


def elect(sites: Iterable[str], *, experiment: str, number: int) -> list[str]:
    """Return the sites in the order in which they lead a round: the next leads if the one before fails."""
    return sorted(sites, key=lambda site: hashlib.sha256(f"{experiment}/{number}/{site}".encode()).hexdigest())


def key_holder_of(turn: MergeTurn, *, experiment: str) -> str:
    """Return who makes the key of an encrypted merge: the next in the order after the leader."""
    order = elect(turn.members, experiment=experiment, number=turn.round)
    return order[(turn.attempt + 1) % len(order)]


def check_turn(turn: MergeTurn, *, experiment: str, site: str) -> None:
    """Refuse a leader that was not elected.

    Raises:
        ValueError: naming who was, and who claims to be.
    """
    order = elect(turn.members, experiment=experiment, number=turn.round)
    if not 0 <= turn.attempt < len(order) or order[turn.attempt] != turn.leader:
        expected = order[turn.attempt] if 0 <= turn.attempt < len(order) else "nobody"
        raise ValueError(
            f"site {site!r}: expected {expected!r} to lead attempt {turn.attempt} of round {turn.round}, got "
            f"{turn.leader!r}; a server must not choose the leader"
        )
