"""Numbers that add up though nobody reads one: fixed point modulo 2^32, masks that cancel, and sealed secrets.

Bonawitz et al.: "Practical Secure Aggregation for Privacy-Preserving Machine Learning", CCS 2017. X25519, HKDF,
ChaCha20 and ChaCha20-Poly1305 are those of the package `cryptography`.
"""

import hashlib
import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mdhfl.sharing.checks import MessageError
from mdhfl.sharing.shamir import BYTES, element
from mdhfl.sharing.signatures import canonical

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

SEALED = BYTES + 16  # bytes of a sealed secret, with its authentication tag
CHECK = 16  # bytes of a share's digest
HALF = 2**31  # sums lie from -2^31 to 2^31

Masks = NDArray[np.uint32]
Bytes = NDArray[np.uint8]


def bits_after_point(*, addends: int, largest: float) -> int:
    """Return with how many bits after the point numbers can be added up.

    Args:
        addends: how many sites' numbers are added.
        largest: size of a site's numbers.
    """
    return math.floor(math.log2((HALF - 1) / (addends * (largest + 1e-6))))


def fixed(values: NDArray[np.floating], *, addends: int, largest: float) -> Masks:
    """Return numbers in fixed point, modulo 2^32.

    Raises:
        MessageError: one is not finite, or larger than it may be.
    """
    numbers = np.asarray(values, dtype=np.float64)
    if not np.isfinite(numbers).all() or np.abs(numbers).max(initial=0) > largest:
        raise MessageError(f"numbers for a blind sum: expected finite ones of at most {largest:g}, got others")
    bits = bits_after_point(addends=addends, largest=largest)
    return np.rint(numbers * 2.0**bits).astype(np.int64).astype(np.uint32)


def floating(total: Masks, *, addends: int, largest: float) -> NDArray[np.float64]:
    """Return the numbers of a sum of `fixed` ones: each right to half a unit of the last bit for each site in it."""
    bits = bits_after_point(addends=addends, largest=largest)
    numbers: NDArray[np.float64] = total.view(np.int32).astype(np.float64) / 2.0**bits
    return numbers


def stream(seed: bytes, shape: tuple[int, ...]) -> Masks:
    """Return the mask of a seed: ChaCha20 under this key. A seed makes one mask, and no other."""
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms

    encryptor = Cipher(algorithms.ChaCha20(seed, bytes(16)), mode=None).encryptor()
    data = encryptor.update(bytes(4 * math.prod(shape)))
    return np.frombuffer(data, dtype="<u4").astype(np.uint32, copy=False).reshape(shape)


def key_of(private: "X25519PrivateKey", public: str, **what: Any) -> bytes:
    """Return a secret that two sites have in common, for one purpose: 32 bytes.

    Args:
        private: the own half of a key for one round.
        public: the other's, 64 hexadecimal digits.
        what: the purpose, plain values.

    Raises:
        MessageError: the other's is no key.
    """
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    try:
        agreed = private.exchange(X25519PublicKey.from_public_bytes(bytes.fromhex(public)))
    except ValueError as error:  # a point of low order
        raise MessageError(f"blind sum: expected a site's key, got {public[:8]}, which is none") from error
    return element(HKDF(algorithm=SHA256(), length=BYTES, salt=None, info=canonical(what)).derive(agreed))


def sealed(secret: bytes, *, key: bytes, place: int) -> bytes:
    """Return a secret that only who has the key can read, or change unseen; each place of a key is used once."""
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

    return ChaCha20Poly1305(key).encrypt(place.to_bytes(12, "big"), secret, None)


def unsealed(data: bytes, *, key: bytes, place: int, whose: str) -> bytes:
    """Return a sealed secret. Raises MessageError: it was not sealed for this reader, place and sum."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

    try:
        return ChaCha20Poly1305(key).decrypt(place.to_bytes(12, "big"), data, None)
    except InvalidTag as error:
        raise MessageError(
            f"blind sum: what site {whose!r} sealed for this one cannot be read: it is of another sum, or was changed"
        ) from error


def check_of(share: bytes) -> bytes:
    """Return the digest by which a share is known."""
    return hashlib.sha256(share).digest()[:CHECK]
