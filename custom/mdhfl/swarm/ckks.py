"""Encrypted addition of model vectors: CKKS by TenSEAL. Who holds only the public context can add, and cannot read.

Cheon, Kim, Kim, Song: "Homomorphic Encryption for Arithmetic of Approximate Numbers", ASIACRYPT 2017. A sum needs no
multiplication, so two primes do: 120 bits at degree 8192, where the Homomorphic Encryption Standard allows 218 bits for
128-bit security. One ciphertext object a model, and no context inside it.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import tenseal
from numpy.typing import NDArray

POLY_MODULUS_DEGREE = 8192
COEFF_MOD_BIT_SIZES = (60, 60)
SCALE_BITS = 40
SLOTS = POLY_MODULUS_DEGREE // 2  # numbers in one polynomial
LARGEST = 2.0 ** (COEFF_MOD_BIT_SIZES[0] - SCALE_BITS - 2)  # of a sum's numbers; beyond, they would wrap around


class CipherError(ValueError):
    """A ciphertext or context that cannot be used; the message names whose it is, what was expected and what came."""


@dataclass(frozen=True, kw_only=True)
class Ciphertext:
    """An encrypted vector.

    Attributes:
        data: its serialised polynomials.
        length: M, the number of encrypted numbers.
        addends: how many such ciphertexts a sum may have, at least 1: so large are its numbers at most.
        context: 64 hexadecimal digits: which public context it was made with.
        digest: 64 hexadecimal digits of the data. TenSEAL's reader does not survive damaged bytes, so it is compared
            before anything is read.
    """

    data: bytes
    length: int
    addends: int
    context: str
    digest: str

    @classmethod
    def of(cls, tensor: Any, *, length: int, addends: int, context: str) -> "Ciphertext":
        """Serialise an encrypted tensor."""
        data = bytes(tensor.serialize())
        digest = hashlib.sha256(data).hexdigest()
        return cls(data=data, length=length, addends=addends, context=context, digest=digest)


class PublicContext:
    """What a leader holds: it encrypts and adds."""

    def __init__(self, context: Any) -> None:
        self._context = context

    @classmethod
    def from_bytes(cls, data: bytes) -> "PublicContext":
        """Read a public context. Raises CipherError: none, or one that holds a secret key, which no leader may have."""
        context = _context_from(data)
        if context.is_private():
            raise CipherError("expected a public context, got one with the secret key: it must not be sent to a leader")
        return cls(context)

    def to_bytes(self) -> bytes:
        """Return the context without secret key."""
        return bytes(
            self._context.serialize(
                save_public_key=True, save_secret_key=False, save_galois_keys=False, save_relin_keys=False
            )
        )

    @cached_property
    def digest(self) -> str:
        """64 hexadecimal digits that identify the context."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    def encrypt(self, values: NDArray[np.float32], *, addends: int) -> Ciphertext:
        """Encrypt an (M,) vector.

        Args:
            values: each below 2**18 / addends in size.
            addends: how many vectors it may be added up with, itself included; at least 1.

        Raises:
            CipherError: not one vector, NaN or infinity, or numbers so large that a sum could wrap around.
        """
        if values.ndim != 1 or not values.size:
            raise CipherError(f"expected one vector to encrypt, got shape {values.shape}")
        largest, limit = float(np.abs(values).max()), LARGEST / addends
        if not largest < limit:
            raise CipherError(
                f"expected numbers below {limit:.0f}, so that {addends} of them can be added, got {largest:.4g}; has "
                "the model diverged?"
            )
        padded = np.zeros(_polynomials(values.size) * SLOTS, dtype=np.float64)
        padded[: values.size] = values
        rows = tenseal.plain_tensor(np.ascontiguousarray(padded.reshape(-1, SLOTS).T))
        encrypted = tenseal.ckks_tensor(self._context, rows, batch=True)
        return Ciphertext.of(encrypted, length=int(values.size), addends=addends, context=self.digest)

    def add(self, ciphertexts: Mapping[str, Ciphertext]) -> Ciphertext:
        """Add ciphertexts without reading them, in the order of the names.

        Args:
            ciphertexts: site -> what it sent, at least one.

        Raises:
            CipherError: naming the site whose ciphertext is of another context or length, was encrypted for a sum of
                fewer, or is none.
        """
        names = sorted(ciphertexts)
        first, total = ciphertexts[names[0]], None
        for name in names:
            self.check(ciphertexts[name], who=repr(name), like=first)
            if ciphertexts[name].addends < len(names):
                raise CipherError(
                    f"ciphertext from {name!r}: expected one that {len(names)} can be added of, got one for at most "
                    f"{ciphertexts[name].addends}: the sum could wrap around"
                )
            tensor = _tensor_from(self._context, ciphertexts[name], who=repr(name))
            total = tensor if total is None else total + tensor
        left = min(ciphertext.addends for ciphertext in ciphertexts.values()) // len(names)
        return Ciphertext.of(total, length=first.length, addends=left, context=self.digest)

    def check(self, ciphertext: Ciphertext, *, who: str, like: Ciphertext | None) -> None:
        """Refuse a ciphertext that cannot be added to another one.

        Raises:
            CipherError: of another context, or of another length than `like`.
        """
        digest = self.digest
        if ciphertext.context != digest:
            raise CipherError(
                f"ciphertext from {who}: expected context {digest[:8]}, got {ciphertext.context[:8]}; it was encrypted "
                "with the key of another merge"
            )
        if like is not None and ciphertext.length != like.length:
            raise CipherError(
                f"ciphertext from {who}: expected {like.length} numbers like the others, got {ciphertext.length}; is "
                "its network the same?"
            )


class SecretContext:
    """What the members hold and the leader does not: it decrypts.

    Attributes:
        public: what may be given to a leader.
    """

    def __init__(self, context: Any) -> None:
        self._context = context
        self.public = PublicContext.from_bytes(PublicContext(context).to_bytes())

    @classmethod
    def create(cls) -> "SecretContext":
        """Draw a new key pair."""
        context = tenseal.context(
            tenseal.SCHEME_TYPE.CKKS, POLY_MODULUS_DEGREE, coeff_mod_bit_sizes=list(COEFF_MOD_BIT_SIZES)
        )
        context.global_scale = 2**SCALE_BITS
        return cls(context)

    @classmethod
    def from_bytes(cls, data: bytes) -> "SecretContext":
        """Read a context with its secret key. Raises CipherError: none, or no secret key in it."""
        context = _context_from(data)
        if not context.is_private():
            raise CipherError("expected a context with its secret key, got a public one")
        return cls(context)

    def to_bytes(self) -> bytes:
        """Return the context with its secret key."""
        return bytes(
            self._context.serialize(
                save_public_key=True, save_secret_key=True, save_galois_keys=False, save_relin_keys=False
            )
        )

    @property
    def digest(self) -> str:
        """That of the public context."""
        return self.public.digest

    def decrypt(self, ciphertext: Ciphertext, *, who: str) -> NDArray[np.float32]:
        """Decrypt a vector.

        Args:
            ciphertext: of this context.
            who: sent it, named in errors.

        Returns:
            (M,) float32, right to about 1e-7.

        Raises:
            CipherError: of another context, or no ciphertext.
        """
        if ciphertext.context != self.digest:
            raise CipherError(
                f"ciphertext from {who}: expected context {self.digest[:8]}, got {ciphertext.context[:8]}; it was "
                "encrypted with the key of another merge"
            )
        tensor = _tensor_from(self._context, ciphertext, who=who)
        values = np.asarray(tensor.decrypt().tolist(), dtype=np.float64).reshape(SLOTS, -1).T.reshape(-1)
        return values[: ciphertext.length].astype(np.float32)


def _polynomials(length: int) -> int:
    """Return how many hold a vector: at least two, since TenSEAL 0.3 reads a batch of one back wrongly."""
    return max(2, -(-length // SLOTS))


def _context_from(data: bytes) -> Any:
    try:
        return tenseal.context_from(data)
    except Exception as error:  # TenSEAL raises whatever its parser does
        raise CipherError(f"expected a CKKS context, got {len(data)} bytes that are none ({error})") from error


def _tensor_from(context: Any, ciphertext: Ciphertext, *, who: str) -> Any:
    if hashlib.sha256(ciphertext.data).hexdigest() != ciphertext.digest:
        raise CipherError(
            f"ciphertext from {who}: expected digest {ciphertext.digest[:8]}, its {len(ciphertext.data)} bytes have "
            "another: damaged on the way"
        )
    try:
        tensor = tenseal.ckks_tensor_from(context, ciphertext.data)
        shape = list(tensor.shape)
    except Exception as error:  # as above
        raise CipherError(
            f"ciphertext from {who}: expected {ciphertext.length} encrypted numbers, got {len(ciphertext.data)} bytes "
            f"that are none ({error})"
        ) from error
    expected = _polynomials(ciphertext.length)
    if shape != [expected]:
        raise CipherError(
            f"ciphertext from {who}: expected {expected} polynomials for {ciphertext.length} numbers, got {shape}"
        )
    return tensor
