"""Who takes part in a blind sum: each site's pledge for a round, and the roll of them."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mdhfl.sharing.checks import MessageError, count, record, text
from mdhfl.sharing.knowledge import Subject
from mdhfl.sharing.records import Lesson, Shared
from mdhfl.sharing.signatures import KEY_DIGITS, SIGNATURE_DIGITS, canonical, hexadecimal, is_signed

LEAST = 2  # sites in a sum that anybody opens; most sites ask for more, see `SiteSettings.minimum_sites`


@dataclass(frozen=True, kw_only=True)
class Pledge(Shared, kind="pledge"):
    """What a site answers instead of its knowledge: a key for this round, and for this very knowledge.

    Attributes:
        key: the public half of an X25519 key, 64 hexadecimal digits; other knowledge has another one.
        identity: the public half of the site's signing key, 64 hexadecimal digits.
        signature: by the identity, see `signed`.
    """

    key: str
    identity: str
    signature: str

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any], **known: Any) -> "Pledge":
        """Rebuild a pledge. Raises MessageError."""
        values = record(wire, what="pledge", fields=cls.sent())
        return cls(
            key=hexadecimal(values["key"], what="pledge's key", digits=KEY_DIGITS),
            identity=hexadecimal(values["identity"], what="pledge's identity", digits=KEY_DIGITS),
            signature=hexadecimal(values["signature"], what="pledge's signature", digits=SIGNATURE_DIGITS),
            **known,
        )

    def signed(self, *, experiment: str, subject: Subject) -> bytes:
        """Return what the site signs: experiment, round, name, both keys, and what its knowledge is about."""
        what = {"experiment": experiment, "round": self.round, "site": self.site, "subject": subject.to_wire()}
        return canonical({**what, "key": self.key, "identity": self.identity})

    def check(self, *, experiment: str, subject: Subject) -> None:
        """Refuse a pledge that its identity has not signed for this round. Raises MessageError."""
        if not is_signed(self.identity, self.signed(experiment=experiment, subject=subject), self.signature):
            raise MessageError(
                f"pledge of site {self.site!r}: expected one that it has signed for round {self.round} of this "
                "experiment, got another"
            )


@dataclass(frozen=True, kw_only=True)
class BlindRoll(Lesson, kind="blind_roll"):
    """The sites of one blind sum.

    Attributes:
        pledges: site -> its pledge for the round.
    """

    pledges: Mapping[str, Pledge]

    def to_wire(self) -> dict[str, Any]:
        """Return plain values."""
        return {"round": self.round, "pledges": {site: pledge.to_wire() for site, pledge in self.pledges.items()}}

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any], **known: Any) -> "BlindRoll":
        """Rebuild a roll. Raises MessageError."""
        values = record(wire, what="blind roll", fields=cls.sent())
        number = count(values["round"], what="blind roll's round")
        if not isinstance(values["pledges"], Mapping):
            raise MessageError("blind roll: expected a pledge for each site, got something else")
        named = {text(site, what="blind roll's site"): pledge for site, pledge in values["pledges"].items()}
        return cls(round=number, pledges={s: Pledge.from_wire(p, site=s, round=number) for s, p in named.items()})

    @property
    def members(self) -> list[str]:
        """The sites, sorted: a member's place in it, from 1, is that of its shares."""
        return sorted(self.pledges)

    @property
    def threshold(self) -> int:
        """How many members must help to open the sum: so many that no two sums of a round are opened by different ones.

        Half, rounded up, and one more: a server that opens two sums of the same sites needs two honest ones to help
        twice, and so does a server together with one of them.
        """
        return (len(self.pledges) + 3) // 2

    def digest(self, *, experiment: str, subject: Subject) -> str:
        """64 hexadecimal digits that stand for this very sum."""
        return hashlib.sha256(canonical(self._named(experiment, subject))).hexdigest()

    def _named(self, experiment: str, subject: Subject) -> dict[str, Any]:
        return {"experiment": experiment, "subject": subject.to_wire(), **self.to_wire()}

    def check_signed(self, *, experiment: str, subject: Subject) -> None:
        """Refuse a roll of too few, with a pledge that is not signed, or with one key under two names.

        Raises:
            MessageError: naming the site.
        """
        if len(self.pledges) < LEAST:
            raise MessageError(f"blind roll: expected at least {LEAST} sites, got {len(self.pledges)}")
        for what in ("key", "identity"):
            owners: dict[str, str] = {}
            for site in self.members:
                other = owners.setdefault(getattr(self.pledges[site], what), site)
                if other != site:
                    raise MessageError(f"blind roll: sites {other!r} and {site!r} have the same {what}")
        for pledge in self.pledges.values():
            pledge.check(experiment=experiment, subject=subject)
