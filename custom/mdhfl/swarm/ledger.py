"""A swarm's membership ledger: who was admitted, and which digest was merged in each round.

Append-only: every entry holds the hash of the one before, and is signed (Ed25519). Each site keeps a copy, and verifies
it whenever it reads it. It stands for the permissioned chain of the swarm-learning papers. What a chain cannot show by
itself: that its end was cut off; the other sites' copies show that.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from mdhfl.files import write_atomically

KEY_BYTES = 32
WAY_OUT = "restore the file from another site's copy, or start a new experiment"


class LedgerError(ValueError):
    """A ledger, entry or key that must not be trusted; the message names it and what is wrong."""


@dataclass(frozen=True)
class SigningKey:
    """A site's Ed25519 key. It never leaves the site."""

    private: bytes

    @classmethod
    def create(cls) -> "SigningKey":
        """Draw a new key."""
        return cls(Ed25519PrivateKey.generate().private_bytes_raw())

    @property
    def public(self) -> str:
        """The public half, 64 hexadecimal digits."""
        return self._key().public_key().public_bytes_raw().hex()

    def sign(self, message: bytes) -> str:
        """Return the signature, 128 hexadecimal digits."""
        return self._key().sign(message).hex()

    def _key(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self.private)


def load_or_create_key(path: Path) -> SigningKey:
    """Read a site's key, or draw one and keep it, readable by its owner only.

    Raises:
        LedgerError: the file is no key.
    """
    if not path.exists():
        key = SigningKey.create()

        def write(file: IO[bytes]) -> None:
            os.fchmod(file.fileno(), 0o600)
            file.write(key.private)

        write_atomically(path, write)
        return key
    private = path.read_bytes()
    if len(private) != KEY_BYTES:
        raise LedgerError(f"{path}: expected a key of {KEY_BYTES} bytes, got {len(private)}; restore it from a backup")
    return SigningKey(private)


def verify_signature(public: str, message: bytes, signature: str) -> bool:
    """Return whether a signature (hexadecimal) of a message was made with a public key's private half."""
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public)).verify(bytes.fromhex(signature), message)
    except (InvalidSignature, ValueError):
        return False
    return True


@dataclass(frozen=True, kw_only=True)
class Application:
    """A site's signed wish to be admitted.

    Attributes:
        site: who.
        content: "key" (public), "layout" and "architecture" of its model.
        signature: by that key, over the experiment, the site and the content.
    """

    site: str
    content: Mapping[str, Any]
    signature: str

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {**asdict(self), "content": dict(self.content)}

    @classmethod
    def from_json(cls, values: Any) -> "Application":
        """Rebuild an application. Raises LedgerError if it is none."""
        return cls(**_fields(values, cls, what="an application"))


def apply_for_membership(*, experiment: str, site: str, layout: str, architecture: str, key: SigningKey) -> Application:
    """Sign an application; only who holds the key can, so nobody is admitted under a key that is not its own."""
    content = {"key": key.public, "layout": layout, "architecture": architecture}
    return Application(site=site, content=content, signature=key.sign(_application_message(experiment, site, content)))


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line of a ledger.

    Attributes:
        index: 0, 1, ...
        previous: hash of the entry before; for the first, of the experiment's id.
        kind: "admit" or "merge".
        site: who is admitted, or who led the merge.
        content: of an admission: see Application. Of a merge: "round", "attempt", "shares" (site -> digest of what it
            sent) and "merged" (layout -> digest of the result).
        signature: by the site; of a merge over everything else in the entry.
    """

    index: int
    previous: str
    kind: Literal["admit", "merge"]
    site: str
    content: Mapping[str, Any]
    signature: str

    @property
    def hash(self) -> str:
        """64 hexadecimal digits over the whole entry."""
        return hashlib.sha256(_canonical(self.to_json())).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {**asdict(self), "content": dict(self.content)}

    @classmethod
    def from_json(cls, values: Any) -> "Entry":
        """Rebuild an entry. Raises LedgerError if it is none."""
        return cls(**_fields(values, cls, what="an entry"))


@dataclass(frozen=True)
class Ledger:
    """A verified chain of entries of one experiment. Immutable: appending returns a longer one."""

    experiment: str
    entries: tuple[Entry, ...] = ()

    @property
    def keys(self) -> dict[str, str]:
        """Admitted site -> its public key."""
        return {entry.site: str(entry.content["key"]) for entry in self.entries if entry.kind == "admit"}

    @property
    def head(self) -> str:
        """Hash of the last entry; of the experiment's id if there is none."""
        return self.entries[-1].hash if self.entries else hashlib.sha256(self.experiment.encode()).hexdigest()

    def admit(self, application: Application) -> "Ledger":
        """Append an admission. Raises LedgerError: a wrong signature, or the site is a member already."""
        return self.extend([self._next("admit", application.site, application.content, application.signature)])

    def merge(
        self,
        *,
        site: str,
        number: int,
        attempt: int,
        shares: Mapping[str, str],
        merged: Mapping[str, str],
        key: SigningKey,
    ) -> "Ledger":
        """Append a merge, signed by its leader. Raises LedgerError: not a member, or not a later round."""
        content = {"round": number, "attempt": attempt, "shares": dict(shares), "merged": dict(merged)}
        unsigned = self._next("merge", site, content, "")
        return self.extend([self._next("merge", site, content, key.sign(_merge_message(self.experiment, unsigned)))])

    def extend(self, entries: Sequence[Entry]) -> "Ledger":
        """Append entries, each verified against the chain so far. Raises LedgerError naming the first that is wrong."""
        ledger = self
        for entry in entries:
            ledger._check_next(entry)
            ledger = Ledger(self.experiment, (*ledger.entries, entry))
        return ledger

    def save(self, path: Path) -> None:
        """Write one JSON line an entry."""
        lines = b"".join(_canonical(entry.to_json()) + b"\n" for entry in self.entries)
        write_atomically(path, lambda file: file.write(lines))

    @classmethod
    def load(cls, path: Path, *, experiment: str) -> "Ledger":
        """Read and verify a ledger; a missing file is an empty one.

        Raises:
            LedgerError: naming the file, the first entry that is wrong, and in what.
        """
        if not path.exists():
            return cls(experiment)
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
            entries = [Entry.from_json(json.loads(line)) for line in lines]
            return cls(experiment).extend(entries)
        except (LedgerError, json.JSONDecodeError, UnicodeDecodeError) as error:
            raise LedgerError(f"ledger {path}: {error}; {WAY_OUT}") from error

    def _next(self, kind: Literal["admit", "merge"], site: str, content: Mapping[str, Any], signature: str) -> Entry:
        return Entry(
            index=len(self.entries), previous=self.head, kind=kind, site=site, content=content, signature=signature
        )

    def _check_next(self, entry: Entry) -> None:
        which = f"entry {entry.index} ({entry.kind}, site {entry.site!r})"
        if entry.index != len(self.entries):
            raise LedgerError(f"{which}: expected entry {len(self.entries)} here: reordered, repeated or missing")
        if entry.previous != self.head:
            raise LedgerError(
                f"{which}: does not follow the entry before it: that one, or this, was tampered with, or the ledger "
                "is another experiment's"
            )
        if entry.kind == "admit":
            self._check_admission(entry, which)
        elif entry.kind == "merge":
            self._check_merge(entry, which)
        else:
            raise LedgerError(f"{which}: expected an admission or a merge")

    def _check_admission(self, entry: Entry, which: str) -> None:
        if set(entry.content) != {"key", "layout", "architecture"}:
            raise LedgerError(f"{which}: expected key, layout and architecture, got {', '.join(entry.content)}")
        if entry.site in self.keys:
            raise LedgerError(f"{which}: this site is a member already")
        message = _application_message(self.experiment, entry.site, entry.content)
        if not verify_signature(str(entry.content["key"]), message, entry.signature):
            raise LedgerError(f"{which}: not signed with the key that it names: tampered with, or another experiment's")

    def _check_merge(self, entry: Entry, which: str) -> None:
        keys, content = self.keys, entry.content
        if set(content) != {"round", "attempt", "shares", "merged"}:
            raise LedgerError(f"{which}: expected round, attempt, shares and merged, got {', '.join(content)}")
        if entry.site not in keys:
            raise LedgerError(f"{which}: led by a site that was never admitted")
        if strangers := sorted(set(content["shares"]) - set(keys)):
            raise LedgerError(f"{which}: holds the share of {', '.join(strangers)}, never admitted")
        if not verify_signature(keys[entry.site], _merge_message(self.experiment, entry), entry.signature):
            raise LedgerError(f"{which}: not signed by its leader: tampered with")
        rounds = [e.content["round"] for e in self.entries if e.kind == "merge"]
        if rounds and content["round"] <= rounds[-1]:
            raise LedgerError(f"{which}: merges round {content['round']} after round {rounds[-1]}")


def _application_message(experiment: str, site: str, content: Mapping[str, Any]) -> bytes:
    return _canonical({"experiment": experiment, "kind": "admit", "site": site, "content": dict(content)})


def _merge_message(experiment: str, entry: Entry) -> bytes:
    return _canonical({**entry.to_json(), "signature": "", "experiment": experiment})


def _canonical(values: Any) -> bytes:
    return json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


TYPES = {"index": int, "previous": str, "kind": str, "site": str, "content": dict, "signature": str}


def _fields(values: Any, record: type, *, what: str) -> dict[str, Any]:
    """Check that plain values are a record's fields, of the right types."""
    names = list(record.__dataclass_fields__)  # type: ignore[attr-defined]
    if not isinstance(values, dict) or set(values) != set(names):
        raise LedgerError(f"expected {what} with {', '.join(names)}, got {values!r:.100}")
    for name in names:
        if not isinstance(values[name], TYPES[name]) or isinstance(values[name], bool):
            raise LedgerError(f"expected {what} whose {name} is {TYPES[name].__name__}, got {values[name]!r:.100}")
    if "shares" in values["content"] and not isinstance(values["content"]["shares"], dict):
        raise LedgerError(f"expected {what} whose shares are named by site")
    return values
