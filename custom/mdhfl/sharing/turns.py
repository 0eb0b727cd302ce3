"""Who leads a swarm's merge: a draw of lots that the sites make among themselves. The server carries it, and no more.

Every member commits to a secret number before anybody reveals one, and signs what it commits to. The order of the
members follows from all numbers together: nobody knows it before the last is revealed, and every site can repeat it.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from mdhfl.sharing.checks import MessageError, count, names, record, text
from mdhfl.sharing.records import Lesson
from mdhfl.sharing.signatures import HASH_DIGITS, KEY_DIGITS, SIGNATURE_DIGITS, canonical, hexadecimal, is_signed


@dataclass(frozen=True, kw_only=True)
class Commitment:
    """What a member signs before the draw.

    Attributes:
        layout: of its model, see `Weights`.
        architecture: for people.
        images: number of its training images, at least 1: its weight in the mean.
        key: the public half of its signing key, 64 hexadecimal digits.
        head: hash of the last entry of its ledger.
        digest: SHA-256 of its secret number.
        signature: by the key, over all of this, its name and the roll, see `Roll.signed_by`.
    """

    layout: str
    architecture: str
    images: int
    key: str
    head: str
    digest: str
    signature: str

    @classmethod
    def from_wire(cls, wire: Any) -> "Commitment":
        """Rebuild a commitment. Raises MessageError."""
        values = record(wire, what="commitment", fields=cls.__dataclass_fields__)
        digits = {"key": KEY_DIGITS, "head": HASH_DIGITS, "digest": HASH_DIGITS, "signature": SIGNATURE_DIGITS}
        return cls(
            layout=text(values["layout"], what="commitment's layout"),
            architecture=text(values["architecture"], what="commitment's architecture"),
            images=count(values["images"], what="commitment's number of training images", low=1),
            **{name: hexadecimal(values[name], what=f"commitment's {name}", digits=n) for name, n in digits.items()},
        )


@dataclass(frozen=True, kw_only=True)
class Roll(Lesson, kind="roll"):
    """Whom the server calls to a draw.

    Attributes:
        round: the round whose models are to be merged.
        roster: all sites of the experiment, sorted: the same in every round.
        sites: those that are called, sorted.
    """

    roster: tuple[str, ...]
    sites: tuple[str, ...]

    def to_wire(self) -> dict[str, Any]:
        """Return plain values."""
        return {"round": self.round, "roster": list(self.roster), "sites": list(self.sites)}

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any], **known: Any) -> "Roll":
        """Rebuild a roll. Raises MessageError."""
        values = record(wire, what="roll", fields=cls.sent())
        return cls(
            round=count(values["round"], what="roll's round"),
            roster=_sorted_names(values["roster"], what="roll's roster"),
            sites=_sorted_names(values["sites"], what="roll's sites"),
        )

    @property
    def absent(self) -> tuple[str, ...]:
        """The sites of the roster that are not called."""
        return tuple(sorted(set(self.roster) - set(self.sites)))

    def check_enough(self, *, least: int) -> None:
        """Refuse a roll that would let few decide for all.

        Args:
            least: how many must take part at least; more than half of the roster in any case.

        Raises:
            MessageError: saying how many are called, of how many.
        """
        needed = max(least, len(self.roster) // 2 + 1)
        if strangers := sorted(set(self.sites) - set(self.roster)):
            raise MessageError(
                f"round {self.round}: {', '.join(strangers)} called to a draw, and not of the experiment"
            )
        if len(self.sites) < needed:
            raise MessageError(
                f"round {self.round}: expected at least {needed} of {len(self.roster)} sites to merge, got "
                f"{len(self.sites)}: a few must not merge among themselves"
            )

    def signed_by(self, site: str, commitment: Commitment, *, experiment: str) -> bytes:
        """Return what a member signs: the experiment, the roll and its commitment."""
        unsigned = {name: value for name, value in asdict(commitment).items() if name != "signature"}
        return canonical({"experiment": experiment, "roll": self.to_wire(), "site": site, "commitment": unsigned})


@dataclass(frozen=True, kw_only=True)
class MergeTurn(Lesson, kind="merge_turn"):
    """One merge: the draw of its leader, and whose models of which round it merges.

    Attributes:
        roll: whom the server called; it names the round, too.
        commitments: member -> what it committed to: the roll's sites, all of them.
        nonces: member -> its secret number, 64 hexadecimal digits; empty before they are revealed.
    """

    roll: Roll
    commitments: Mapping[str, Commitment]
    nonces: Mapping[str, str]

    @classmethod
    def of(cls, roll: Roll, commitments: Mapping[str, Commitment], nonces: Mapping[str, str]) -> "MergeTurn":
        """Return the turn of a roll."""
        return cls(round=roll.round, roll=roll, commitments=dict(commitments), nonces=dict(nonces))

    def to_wire(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "round": self.round,
            "roll": self.roll.to_wire(),
            "commitments": {site: asdict(commitment) for site, commitment in self.commitments.items()},
            "nonces": dict(self.nonces),
        }

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any], **known: Any) -> "MergeTurn":
        """Rebuild a turn. Raises MessageError."""
        values = record(wire, what="merge turn", fields=cls.sent())
        if not isinstance(values["commitments"], Mapping) or not isinstance(values["nonces"], Mapping):
            raise MessageError("merge turn: expected its members' commitments and numbers by site, got something else")
        roll = Roll.from_wire(values["roll"])
        if count(values["round"], what="merge turn's round") != roll.round:
            raise MessageError("merge turn: expected the round of its roll, got another")
        turn = cls.of(
            roll,
            {_name(site): Commitment.from_wire(value) for site, value in values["commitments"].items()},
            {
                _name(site): hexadecimal(n, what="member's number", digits=HASH_DIGITS)
                for site, n in values["nonces"].items()
            },
        )
        if set(turn.commitments) != set(roll.sites) or not set(turn.nonces) <= set(roll.sites):
            raise MessageError("merge turn: expected a commitment of each site of its roll and no other, got others")
        return turn

    @property
    def opening(self) -> str:
        """64 hexadecimal digits of all that stood before the numbers were revealed."""
        return hashlib.sha256(canonical({**self.to_wire(), "nonces": {}})).hexdigest()

    @property
    def digest(self) -> str:
        """64 hexadecimal digits of the whole turn."""
        return hashlib.sha256(canonical(self.to_wire())).hexdigest()

    @property
    def order(self) -> list[str]:
        """The members in the order that was drawn."""
        digest = self.digest
        return sorted(self.commitments, key=lambda site: hashlib.sha256(f"{digest}/{site}".encode()).hexdigest())

    @property
    def leader(self) -> str:
        """Who merges: the first."""
        return self.order[0]

    @property
    def key_holder(self) -> str:
        """Who makes the key of an encrypted merge: the second."""
        return self.order[1]

    def group(self, layout: str) -> list[str]:
        """Return the members whose models have a layout, sorted."""
        return sorted(site for site, member in self.commitments.items() if member.layout == layout)

    def is_alone(self, site: str) -> bool:
        """Return whether nobody else has a member's layout: then it has nothing to merge."""
        return len(self.group(self.commitments[site].layout)) == 1

    def unsigned(self, *, experiment: str) -> list[str]:
        """Return the members whose commitment is not signed with the key that it names, sorted."""
        return [
            site
            for site, commitment in sorted(self.commitments.items())
            if not is_signed(
                commitment.key, self.roll.signed_by(site, commitment, experiment=experiment), commitment.signature
            )
        ]

    def check_draw(self, *, experiment: str) -> None:
        """Refuse a turn that was not drawn as it must be.

        Raises:
            MessageError: naming the member whose signature or number is not what it committed to.
        """
        if unsigned := self.unsigned(experiment=experiment):
            raise MessageError(f"round {self.round}: the commitment of {unsigned[0]!r} is not signed with its key")
        for site, commitment in sorted(self.commitments.items()):
            if not opens(commitment, self.nonces.get(site)):
                raise MessageError(
                    f"round {self.round}: the number of {site!r} is not the one that it committed to: the leader was "
                    "not drawn"
                )


def opens(commitment: Commitment, nonce: str | None) -> bool:
    """Return whether a number is the one that was committed to."""
    return bool(nonce) and hashlib.sha256(str(nonce).encode()).hexdigest() == commitment.digest


def _sorted_names(value: Any, *, what: str) -> tuple[str, ...]:
    found = names(value, what=what)
    if not found or list(found) != sorted(set(found)):
        raise MessageError(f"{what}: expected different names in order, got {len(found)} that are not")
    return found


def _name(site: Any) -> str:
    return text(site, what="merge turn's member")
