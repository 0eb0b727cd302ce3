"""What is hashed and signed: one text for plain values, hexadecimal digits, Ed25519 signatures."""

import json
from typing import Any

from mdhfl.sharing.checks import MessageError, text

HASH_DIGITS, KEY_DIGITS, SIGNATURE_DIGITS = 64, 64, 128  # hexadecimal


def is_signed(key: str, message: bytes, signature: str) -> bool:
    """Return whether a signature (hexadecimal) of a message was made with a public Ed25519 key's private half."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(key)).verify(bytes.fromhex(signature), message)
    except (InvalidSignature, ValueError):
        return False
    return True


def canonical(values: Any) -> bytes:
    """Return plain values as the one JSON text that is hashed and signed."""
    return json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode()


def hexadecimal(value: Any, *, what: str, digits: int) -> str:
    """Return a text of so many lower-case hexadecimal digits. Raises MessageError."""
    checked = text(value, what=what, longest=digits)
    if len(checked) != digits or set(checked) - set("0123456789abcdef"):
        raise MessageError(f"{what}: expected {digits} hexadecimal digits, got {checked[:20]!r}")
    return checked
