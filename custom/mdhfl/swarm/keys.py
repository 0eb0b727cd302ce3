"""A site's signing key, and the secret numbers that it draws from it: in a swarm, and in blind sums."""

import hashlib
import hmac
import os
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mdhfl.files import write_atomically
from mdhfl.sharing.signatures import canonical
from mdhfl.sharing.turns import Roll

KEY_BYTES = 32
FILE = "ledger.key"  # in a site's state folder


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
        """Return the signature, 128 hexadecimal digits; the same for the same message."""
        return self._key().sign(message).hex()

    def nonce(self, roll: Roll, *, experiment: str) -> str:
        """Return the secret number for a roll, 64 hexadecimal digits.

        It follows from the key and the roll, so a server that repeats a draw gets the same leader again.
        """
        what = canonical({"experiment": experiment, "roll": roll.to_wire()})
        return hmac.new(self.private, what, hashlib.sha256).hexdigest()

    def _key(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self.private)


def own_key(state: Path) -> SigningKey | None:
    """Return the key of a site that keeps its state there, None if it has none yet. Raises ValueError: it is no key."""
    path = state / FILE
    return load_or_create_key(path) if path.exists() else None


def load_or_create_key(path: Path) -> SigningKey:
    """Read a site's key, or draw one and keep it, readable by its owner only.

    Raises:
        ValueError: the file is no key.
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
        raise ValueError(f"{path}: expected a key of {KEY_BYTES} bytes, got {len(private)}; restore it from a backup")
    return SigningKey(private)
