"""Encrypted addition of model vectors: CKKS by TenSEAL. Who holds only the public context can add, and cannot read.

Cheon, Kim, Kim, Song: "Homomorphic Encryption for Arithmetic of Approximate Numbers", ASIACRYPT 2017. A sum needs no
multiplication, so two primes do: 120 bits at degree 8192, where the Homomorphic Encryption Standard allows 218 bits for
128-bit security. One ciphertext object a model, and no context inside it.

TenSEAL itself runs in a child process with limits of memory and time (`ckks_child.py`): bytes that crash it, or that
would fill the machine, are a refusal of who sent them.
"""

import hashlib
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mdhfl.swarm.ckks_child import COEFF_MOD_BIT_SIZES, SCALE_BITS, SLOTS, framed, polynomials, unframed

LARGEST = 2.0 ** (COEFF_MOD_BIT_SIZES[0] - SCALE_BITS - 2)  # of a sum's numbers; beyond, they would wrap around
POLYNOMIAL_BYTES = 2 * 2 * SLOTS * 8  # of a fresh one, before compression: two of 8192 coefficients
CONTEXT_BYTES = 2**21  # the most that a context has, several times over
MEMORY = 3 * 2**30  # bytes of address space of the child, beside 24 times its input
SECONDS = 60  # of its CPU time, and as many for each 50 MB


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
        digest: 64 hexadecimal digits of the data.
    """

    data: bytes
    length: int
    addends: int
    context: str
    digest: str

    @classmethod
    def of(cls, data: bytes, *, length: int, addends: int, context: str) -> "Ciphertext":
        """Return serialised polynomials with what is to be known of them."""
        digest = hashlib.sha256(data).hexdigest()
        return cls(data=data, length=length, addends=addends, context=context, digest=digest)


class PublicContext:
    """What a leader holds: it encrypts and adds."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    @classmethod
    def from_bytes(cls, data: bytes) -> "PublicContext":
        """Read a public context. Raises CipherError: none, or one that holds a secret key, which no leader may have."""
        private, public = _read_context(data)
        if private:
            raise CipherError("expected a public context, got one with the secret key: it must not be sent to a leader")
        return cls(public)

    def to_bytes(self) -> bytes:
        """Return the context without secret key."""
        return self._data

    @cached_property
    def digest(self) -> str:
        """64 hexadecimal digits that identify the context."""
        return hashlib.sha256(self._data).hexdigest()

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
        plain = np.ascontiguousarray(values, dtype=np.float32).tobytes()
        _, (data,) = _in_child("encrypt", [self._data, plain], who="this site's own")
        return Ciphertext.of(data, length=int(values.size), addends=addends, context=self.digest)

    def add(self, ciphertexts: Mapping[str, Ciphertext]) -> Ciphertext:
        """Add ciphertexts without reading them, in the order of the names.

        Args:
            ciphertexts: site -> what it sent, at least one.

        Raises:
            CipherError: naming the site whose ciphertext is of another context or length, was encrypted for a sum of
                fewer, or is none.
        """
        names = sorted(ciphertexts)
        first = ciphertexts[names[0]]
        for name in names:
            self.check(ciphertexts[name], who=repr(name), like=first)
            if ciphertexts[name].addends < len(names):
                raise CipherError(
                    f"ciphertext from {name!r}: expected one that {len(names)} can be added of, got one for at most "
                    f"{ciphertexts[name].addends}: the sum could wrap around"
                )
        blobs = [self._data, *(ciphertexts[name].data for name in names)]
        _, (data,) = _in_child("add", blobs, who=f"one of {', '.join(names)}", length=first.length)
        left = min(ciphertext.addends for ciphertext in ciphertexts.values()) // len(names)
        return Ciphertext.of(data, length=first.length, addends=left, context=self.digest)

    def read(self, ciphertext: Ciphertext, *, who: str, like: Ciphertext | None) -> None:
        """Refuse what cannot be added, having read it once.

        Raises:
            CipherError: naming who sent it; see `check`, or bytes that are no such ciphertext.
        """
        self.check(ciphertext, who=who, like=like)
        _in_child("read", [self._data, ciphertext.data], who=who, length=ciphertext.length)

    def check(self, ciphertext: Ciphertext, *, who: str, like: Ciphertext | None) -> None:
        """Refuse a ciphertext that cannot be added to another one, without reading it.

        Raises:
            CipherError: of another context or size, or of another length than `like`.
        """
        _check_fits(ciphertext, digest=self.digest, who=who)
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

    def __init__(self, data: bytes, *, public: bytes) -> None:
        self._data = data
        self.public = PublicContext(public)

    @classmethod
    def create(cls) -> "SecretContext":
        """Draw a new key pair."""
        _, (secret, public) = _in_child("create", [], who="this site's own")
        return cls(secret, public=public)

    @classmethod
    def from_bytes(cls, data: bytes) -> "SecretContext":
        """Read a context with its secret key. Raises CipherError: none, or no secret key in it."""
        private, public = _read_context(data)
        if not private:
            raise CipherError("expected a context with its secret key, got a public one")
        return cls(data, public=public)

    def to_bytes(self) -> bytes:
        """Return the context with its secret key."""
        return self._data

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
            CipherError: of another context, no ciphertext, or numbers that no honest sum has.
        """
        _check_fits(ciphertext, digest=self.digest, who=who)
        _, (data,) = _in_child("decrypt", [self._data, ciphertext.data], who=who, length=ciphertext.length)
        values = np.frombuffer(data, dtype=np.float32).copy()
        if not (np.abs(values) < LARGEST).all():
            raise CipherError(
                f"ciphertext from {who}: expected numbers below {LARGEST:.0f}, got {float(np.abs(values).max()):.4g}: "
                "a share was too large, and the sum wrapped around"
            )
        return values


def largest_bytes(length: int) -> int:
    """Return how many bytes the ciphertext of a vector has at most."""
    return polynomials(length) * (POLYNOMIAL_BYTES + 2**12) + 2**12


def _check_fits(ciphertext: Ciphertext, *, digest: str, who: str) -> None:
    """Refuse a ciphertext of another context, or whose bytes cannot be what they should be."""
    if ciphertext.context != digest:
        raise CipherError(
            f"ciphertext from {who}: expected context {digest[:8]}, got {ciphertext.context[:8]}; it was encrypted "
            "with the key of another merge"
        )
    if hashlib.sha256(ciphertext.data).hexdigest() != ciphertext.digest:
        raise CipherError(
            f"ciphertext from {who}: expected digest {ciphertext.digest[:8]}, its {len(ciphertext.data)} bytes have "
            "another: damaged on the way"
        )
    number = polynomials(ciphertext.length)
    low, high = number * POLYNOMIAL_BYTES * 3 // 4, largest_bytes(ciphertext.length)
    if not low <= len(ciphertext.data) <= high:
        raise CipherError(
            f"ciphertext from {who}: expected {number} polynomials for {ciphertext.length} numbers, {low} to {high} "
            f"bytes, got {len(ciphertext.data)}"
        )


def _read_context(data: Any) -> tuple[bool, bytes]:
    """Return whether a context holds a secret key, and its public part."""
    if not isinstance(data, bytes) or len(data) > CONTEXT_BYTES:
        got = f"{len(data)} bytes" if isinstance(data, bytes) else type(data).__name__
        raise CipherError(f"expected a CKKS context of at most {CONTEXT_BYTES} bytes, got {got}")
    try:
        values, (public,) = _in_child("public", [data], who="")
    except CipherError as error:
        raise CipherError(f"expected a CKKS context, got {len(data)} bytes that are none ({error})") from error
    return bool(values["private"]), public


def _in_child(job: str, blobs: Sequence[bytes], *, who: str, **values: Any) -> tuple[dict[str, Any], list[bytes]]:
    """Let the child do one job. Raises CipherError if it fails, dies or takes too long."""
    size = sum(map(len, blobs))
    memory, seconds = MEMORY + 24 * size, SECONDS + SECONDS * size // 50_000_000
    command = [sys.executable, "-I", "-m", "mdhfl.swarm.ckks_child", str(memory), str(seconds)]
    message = framed({"job": job, **values}, blobs)
    try:
        done = subprocess.run(command, input=message, capture_output=True, timeout=10 * seconds, check=False)
    except subprocess.TimeoutExpired:
        raise CipherError(f"ciphertext from {who}: reading it took more than {10 * seconds} s") from None
    if done.returncode != 0:
        raise CipherError(
            f"ciphertext from {who}: expected one that can be read, its {size} bytes ended the process that read them "
            f"(exit code {done.returncode})"
        )
    result, found = unframed(done.stdout)
    if "error" in result:
        raise CipherError(f"ciphertext from {who}: expected encrypted numbers, got {size} bytes ({result['error']})")
    return result, found
