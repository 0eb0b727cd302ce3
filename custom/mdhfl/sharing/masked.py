"""What is said in a blind sum: masked numbers, what opens their sum, and the sum that all sites are sent."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mdhfl.sharing.checks import MessageError, array, count, names, record
from mdhfl.sharing.masks import CHECK, SEALED, Bytes, Masks
from mdhfl.sharing.pledges import BlindRoll, Pledge
from mdhfl.sharing.records import Lesson, Shared
from mdhfl.sharing.shamir import BYTES
from mdhfl.sharing.signatures import HASH_DIGITS, hexadecimal


@dataclass(frozen=True, kw_only=True)
class Masked(Shared, kind="masked"):
    """A site's part of a blind sum of n members; each of its numbers by itself is random.

    A member has n secrets, in the order of the members: at its own place the seed of its own mask, at another's the
    seed of the mask that the two have in common.

    Attributes:
        pledge: the site's.
        roll: digest of the roll for whose members it is masked.
        values: (rows, C) uint32, masked.
        sealed: (n, n, 48) uint8, for each member its share of each secret, which only it can read.
        checks: (n, n, 16) uint8, digests of these shares.
        veils: (n, 48) uint8, for each member the seed of the mask that hides the sum from the server.
    """

    pledge: Pledge
    roll: str
    values: Masks
    sealed: Bytes
    checks: Bytes
    veils: Bytes

    def to_wire(self) -> dict[str, Any]:
        """Return plain values and arrays."""
        return {**super().to_wire(), "pledge": self.pledge.to_wire()}

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any], **known: Any) -> "Masked":
        """Rebuild it. Raises MessageError."""
        values = record(wire, what="masked", fields=cls.sent())
        sealed = _bytes(values["sealed"], what="masked's sealed", shape=(None, None, SEALED))
        n = len(sealed)
        if sealed.shape[1] != n:
            raise MessageError(f"masked's sealed: expected n shares of n secrets, got shape {sealed.shape}")
        return cls(
            pledge=Pledge.from_wire(values["pledge"], **known),
            roll=hexadecimal(values["roll"], what="masked's roll", digits=HASH_DIGITS),
            values=array(values["values"], what="masked", dtypes=(np.uint32,), shape=(None, None)),
            sealed=sealed,
            checks=_bytes(values["checks"], what="masked's checks", shape=(n, n, CHECK)),
            veils=_bytes(values["veils"], what="masked's veils", shape=(n, SEALED)),
            **known,
        )

    def check(self, *, pledge: Pledge, roll: str, members: int, shape: tuple[int, int]) -> None:
        """Refuse what is not of this sum.

        Args:
            pledge: what the site pledged in its answer.
            roll: digest of the roll.
            members: n.
            shape: of what each site adds.

        Raises:
            MessageError: another pledge, sum, size or number of members.
        """
        who = f"masked numbers of site {self.site!r}"
        if self.pledge != pledge:
            raise MessageError(f"{who}: expected those of its pledge, got another's")
        if self.roll != roll:
            raise MessageError(f"{who}: expected them for blind sum {roll[:8]}, got them for {self.roll[:8]}")
        if self.values.shape != shape or len(self.sealed) != members:
            raise MessageError(
                f"{who}: expected shape {shape} and {members} members, got {self.values.shape} and {len(self.sealed)}"
            )


@dataclass(frozen=True, kw_only=True)
class Opening(Lesson, kind="opening"):
    """What the members are asked to help with: to take the masks off the sum of those whose numbers have arrived.

    Attributes:
        roll: of the sum.
        sites: whose numbers have arrived, sorted: the sum's sites. The others are its absent ones.
        sealed: (sites, n, 1 + absent, 48) uint8: of each of the sites, for each member, its share of the site's own
            secret and of those that the site has in common with the absent ones.
    """

    roll: BlindRoll
    sites: tuple[str, ...]
    sealed: Bytes

    @property
    def absent(self) -> list[str]:
        """The members whose numbers have not arrived."""
        return absent_of(self.roll, self.sites)

    def to_wire(self) -> dict[str, Any]:
        """Return plain values and arrays."""
        roll = self.roll.to_wire()
        return {"round": self.round, "roll": roll, "sites": list(self.sites), "sealed": self.sealed}

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any], **known: Any) -> "Opening":
        """Rebuild it. Raises MessageError."""
        values = record(wire, what="opening", fields=cls.sent())
        roll, sites = _sum_of(values, what="opening")
        shape = (len(sites), len(roll.pledges), 1 + len(roll.pledges) - len(sites), SEALED)
        sealed = _bytes(values["sealed"], what="opening's sealed", shape=shape)
        return cls(round=roll.round, roll=roll, sites=sites, sealed=sealed)


@dataclass(frozen=True, kw_only=True)
class Opened(Shared, kind="opened"):
    """A member's help to open a sum.

    Attributes:
        roll: digest of the roll.
        shares: (sites, 1 + absent, 32) uint8, its shares of the secrets that it was asked for.
    """

    roll: str
    shares: Bytes

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any], **known: Any) -> "Opened":
        """Rebuild it. Raises MessageError."""
        values = record(wire, what="opened", fields=cls.sent())
        return cls(
            roll=hexadecimal(values["roll"], what="opened's roll", digits=HASH_DIGITS),
            shares=_bytes(values["shares"], what="opened's shares", shape=(None, None, BYTES)),
            **known,
        )

    def check(self, *, roll: str, sites: int, absent: int) -> None:
        """Refuse another sum's. Raises MessageError."""
        if self.roll != roll or self.shares.shape[:2] != (sites, 1 + absent):
            raise MessageError(
                f"shares of site {self.site!r}: expected {sites} x {1 + absent} for blind sum {roll[:8]}, got "
                f"{self.shares.shape[:2]} for {self.roll[:8]}"
            )


@dataclass(frozen=True, kw_only=True)
class BlindTeaching(Lesson, kind="blind_teaching"):
    """The sum that the server broadcasts, and cannot read: each of its sites has laid a veil over it.

    Attributes:
        roll: of the sum.
        sites: whose numbers are in it, sorted.
        values: (rows, C) uint32, the sum under the veils of its sites.
        veils: (sites, n, 48) uint8: of each of its sites, for each member, the seed of its veil.
    """

    roll: BlindRoll
    sites: tuple[str, ...]
    values: Masks
    veils: Bytes

    def to_wire(self) -> dict[str, Any]:
        """Return plain values and arrays."""
        return {**super().to_wire(), "roll": self.roll.to_wire(), "sites": list(self.sites)}

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any], **known: Any) -> "BlindTeaching":
        """Rebuild it. Raises MessageError."""
        values = record(wire, what="blind teaching", fields=cls.sent())
        roll, sites = _sum_of(values, what="blind teaching")
        shape = (len(sites), len(roll.pledges), SEALED)
        return cls(
            round=roll.round,
            roll=roll,
            sites=sites,
            values=array(values["values"], what="blind teaching", dtypes=(np.uint32,), shape=(None, None)),
            veils=_bytes(values["veils"], what="blind teaching's veils", shape=shape),
        )

    def check(self, *, kind: str, shape: tuple[int, int]) -> None:
        """Refuse another size: a row more than the knowledge has is one of weights. What it says, nobody knows yet."""
        if self.values.shape not in (shape, (shape[0] + 1, shape[1])):
            raise MessageError(f"blind teaching: expected shape {shape} or a row more, got {self.values.shape}")


def absent_of(roll: BlindRoll, sites: tuple[str, ...]) -> list[str]:
    """Return the members of a roll that are not among these sites, sorted."""
    return sorted(set(roll.pledges) - set(sites))


def _sum_of(values: Mapping[str, Any], *, what: str) -> tuple[BlindRoll, tuple[str, ...]]:
    """Return the roll of a lesson, and which of its members are in the sum."""
    roll, sites = BlindRoll.from_wire(values["roll"]), names(values["sites"], what=f"{what}'s sites")
    if count(values["round"], what=f"{what}'s round") != roll.round:
        raise MessageError(f"{what}: expected the round of its roll, got another")
    if not sites or list(sites) != sorted(set(sites)) or not set(sites) <= set(roll.pledges):
        raise MessageError(f"{what}: expected different members of its roll, in order, got others")
    return roll, sites


def _bytes(value: Any, *, what: str, shape: tuple[int | None, ...]) -> Bytes:
    return array(value, what=what, dtypes=(np.uint8,), shape=shape)
