"""A swarm's ledger: each merge with the draw of its leader, and the digests of what was merged.

Append-only: every entry holds the hash of the one before, and is signed (Ed25519) by its leader. An entry proves
itself: it carries the signed commitments of its members and their numbers, so that nobody can enter a merge that it was
not drawn to lead. Each site keeps a copy, and verifies it whenever it reads it. It stands for the permissioned chain of
the swarm-learning papers. What a chain cannot show by itself: that its end was cut off; the others' copies show that.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mdhfl.files import write_atomically
from mdhfl.sharing.checks import MessageError, count, record, text
from mdhfl.sharing.signatures import HASH_DIGITS, SIGNATURE_DIGITS, canonical, hexadecimal, is_signed
from mdhfl.sharing.turns import MergeTurn
from mdhfl.swarm.keys import SigningKey

WAY_OUT = "restore the file from another site's copy, or start a new experiment"


class LedgerError(ValueError):
    """A ledger or entry that must not be trusted; the message names it and what is wrong."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One merge: a line of a ledger.

    Attributes:
        index: 0, 1, ...
        previous: hash of the entry before; for the first, of the experiment's id.
        turn: the draw, and whom it was among.
        shares: member -> digest of what it sent; none of a member that sent nothing.
        merged: layout -> digest of the result.
        signature: by the turn's leader, over everything else in the entry.
    """

    index: int
    previous: str
    turn: MergeTurn
    shares: Mapping[str, str]
    merged: Mapping[str, str]
    signature: str

    @cached_property
    def hash(self) -> str:
        """64 hexadecimal digits over the whole entry."""
        return hashlib.sha256(canonical(self.to_json())).hexdigest()

    @property
    def name(self) -> str:
        """Which entry this is, for people."""
        return f"entry {self.index} (round {self.turn.round}, led by {self.turn.leader!r})"

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            **{name: getattr(self, name) for name in ("index", "previous", "signature")},
            "turn": self.turn.to_wire(),
            "shares": dict(self.shares),
            "merged": dict(self.merged),
        }

    @classmethod
    def from_json(cls, values: Any) -> "Entry":
        """Rebuild an entry. Raises LedgerError if it is none."""
        try:
            values = record(values, what="ledger entry", fields=cls.__dataclass_fields__)
            return cls(
                index=count(values["index"], what="ledger entry's index"),
                previous=hexadecimal(values["previous"], what="ledger entry's previous", digits=HASH_DIGITS),
                turn=MergeTurn.from_wire(values["turn"]),
                shares=_digests(values["shares"], what="ledger entry's shares"),
                merged=_digests(values["merged"], what="ledger entry's merged"),
                signature=hexadecimal(values["signature"], what="ledger entry's signature", digits=SIGNATURE_DIGITS),
            )
        except MessageError as error:
            raise LedgerError(str(error)) from error

    def message(self, *, experiment: str) -> bytes:
        """Return what its leader signs."""
        return canonical({**self.to_json(), "signature": "", "experiment": experiment})


@dataclass(frozen=True)
class Ledger:
    """A verified chain of entries of one experiment. Immutable: appending returns a longer one."""

    experiment: str
    entries: tuple[Entry, ...] = ()

    @cached_property
    def keys(self) -> dict[str, str]:
        """Member -> its public key, the one that it had when it was first merged."""
        found: dict[str, str] = {}
        for entry in self.entries:
            for site, commitment in entry.turn.commitments.items():
                found.setdefault(site, commitment.key)
        return found

    @property
    def roster(self) -> tuple[str, ...] | None:
        """All sites of the experiment, None if there is no entry."""
        return self.entries[0].turn.roll.roster if self.entries else None

    @property
    def head(self) -> str:
        """Hash of the last entry; of the experiment's id if there is none."""
        return self.entries[-1].hash if self.entries else hashlib.sha256(self.experiment.encode()).hexdigest()

    def merge(
        self, turn: MergeTurn, *, shares: Mapping[str, str], merged: Mapping[str, str], key: SigningKey
    ) -> "Ledger":
        """Append a merge, signed by its leader. Raises LedgerError, see `extend`."""
        unsigned = Entry(
            index=len(self.entries), previous=self.head, turn=turn, shares=shares, merged=merged, signature=""
        )
        signed = {**vars(unsigned), "signature": key.sign(unsigned.message(experiment=self.experiment))}
        return self.extend([Entry(**{name: signed[name] for name in Entry.__dataclass_fields__})], newest=turn.round)

    def extend(self, entries: Sequence[Entry], *, newest: int) -> "Ledger":
        """Append entries, each verified against the chain so far.

        Args:
            entries: in order.
            newest: the last round whose merge there can be.

        Raises:
            LedgerError: naming the first entry that is wrong.
        """
        ledger = self
        for entry in entries:
            ledger._check_next(entry, newest=newest)
            ledger = Ledger(self.experiment, (*ledger.entries, entry))
        return ledger

    def save(self, path: Path) -> None:
        """Write one JSON line an entry."""
        lines = b"".join(canonical(entry.to_json()) + b"\n" for entry in self.entries)
        write_atomically(path, lambda file: file.write(lines))

    @classmethod
    def load(cls, path: Path, *, experiment: str, newest: int) -> "Ledger":
        """Read and verify a ledger; a missing file is an empty one.

        Raises:
            LedgerError: naming the file, the first entry that is wrong, and in what.
        """
        ledger = cls(experiment)
        try:
            if not path.exists():
                return ledger
            for line in path.read_bytes().splitlines():
                ledger = ledger.extend([Entry.from_json(json.loads(line))], newest=newest)
        except LedgerError as error:
            raise LedgerError(f"ledger {path}, line {len(ledger.entries) + 1}: {error}; {WAY_OUT}") from error
        except (OSError, ValueError, RecursionError) as error:  # of JSON: no text, too deep, too many digits
            raise LedgerError(
                f"ledger {path}, line {len(ledger.entries) + 1}: expected an entry as JSON, got something else "
                f"({type(error).__name__}: {error!s:.100}); {WAY_OUT}"
            ) from error
        return ledger

    def check_turn(self, turn: MergeTurn) -> None:
        """Refuse a turn that was not drawn as it must be, or whose members are not this ledger's.

        Raises:
            LedgerError: too few members, another roster, a wrong signature or number, or another key.
        """
        if self.roster is not None and turn.roll.roster != self.roster:
            raise LedgerError(
                f"round {turn.round}: expected the experiment's sites {', '.join(self.roster)}, got "
                f"{', '.join(turn.roll.roster)}: they must not change"
            )
        if strangers := self.strangers(turn):
            raise LedgerError(f"round {turn.round}: {strangers[0]!r} has another key than in the ledger")
        try:
            turn.roll.check_enough(least=2)
            turn.check_draw(experiment=self.experiment)
        except MessageError as error:
            raise LedgerError(str(error)) from error

    def strangers(self, turn: MergeTurn) -> list[str]:
        """Return the members of a turn that come with another key than they had, sorted."""
        keys = self.keys
        return sorted(s for s, commitment in turn.commitments.items() if keys.get(s, commitment.key) != commitment.key)

    def _check_next(self, entry: Entry, *, newest: int) -> None:
        if entry.index != len(self.entries):
            raise LedgerError(f"{entry.name}: expected entry {len(self.entries)} here: reordered, repeated or missing")
        if entry.previous != self.head:
            raise LedgerError(
                f"{entry.name}: does not follow the entry before it: that one, or this, was tampered with, or the "
                "ledger is another experiment's"
            )
        number = entry.turn.round
        if self.entries and number <= self.entries[-1].turn.round:
            raise LedgerError(f"{entry.name}: merges round {number} after round {self.entries[-1].turn.round}")
        if number > newest:
            raise LedgerError(f"{entry.name}: merges round {number}, and the last that can be merged is {newest}")
        try:
            self.check_turn(entry.turn)
        except LedgerError as error:
            raise LedgerError(f"{entry.name}: {error}") from error
        self._check_content(entry)

    def _check_content(self, entry: Entry) -> None:
        members = entry.turn.commitments
        if strangers := sorted(set(entry.shares) - set(members)):
            raise LedgerError(f"{entry.name}: holds the share of {', '.join(strangers)}, no member of its turn")
        if set(entry.merged) != {members[site].layout for site in entry.shares}:
            raise LedgerError(f"{entry.name}: expected a result for each layout that was shared, got others")
        if not is_signed(members[entry.turn.leader].key, entry.message(experiment=self.experiment), entry.signature):
            raise LedgerError(f"{entry.name}: not signed by its leader: tampered with")


def _digests(value: Any, *, what: str) -> dict[str, str]:
    """Return digests by name. Raises MessageError."""
    if not isinstance(value, Mapping):
        raise MessageError(f"{what}: expected digests by name, got {type(value).__name__}")
    return {
        text(name, what=f"a name in {what}"): hexadecimal(digest, what=what, digits=HASH_DIGITS)
        for name, digest in value.items()
    }
