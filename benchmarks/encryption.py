"""Encrypted merging (Swarm-FHE): seconds and bytes for a model's parameters, and how exact the decrypted sum is."""

import time
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from mdhfl.ckks import PublicContext, SecretContext

T = TypeVar("T")


def _timed(action: Callable[[], T]) -> tuple[T, float]:
    start = time.perf_counter()
    result = action()
    return result, time.perf_counter() - start


def measure(*, parameters: int = 1_000_000, sites: int = 3, repetitions: int = 3) -> list[dict[str, Any]]:
    """Encrypt vectors of normal random numbers, add them with the public context only, and decrypt the sum.

    Returns:
        One row. Seconds are the best of the repetitions and include TenSEAL's reading and writing of bytes: to encrypt
        one vector, to add one ciphertext to a sum, and to decrypt the sum. Ciphertext MB (10^6 bytes) are for each
        million parameters, the ratio is to float32, the contexts are in kB (10^3 bytes). The error is the largest
        difference from the sum in float64, relative to that sum's largest magnitude; float32 alone allows 6e-8.
    """
    secret = SecretContext.create()
    public = PublicContext.from_bytes(secret.public.to_bytes())
    random = np.random.default_rng(0)
    vectors = {f"site-{i}": random.normal(size=parameters).astype(np.float32) for i in range(sites)}
    ciphertexts, encrypting = {}, []
    for site, values in vectors.items():
        ciphertexts[site], seconds = _timed(lambda values=values: public.encrypt(values))  # type: ignore[misc]
        encrypting.append(seconds)
    adding, decrypting = [], []
    for _ in range(repetitions):
        total, seconds = _timed(lambda: public.add(ciphertexts))
        adding.append(seconds / sites)
        decrypted, seconds = _timed(lambda total=total: secret.decrypt(total, who="leader"))  # type: ignore[misc]
        decrypting.append(seconds)
    expected = np.sum([values.astype(np.float64) for values in vectors.values()], axis=0)
    error = float(np.abs(decrypted - expected).max() / np.abs(expected).max())
    size = len(total.data)
    return [
        {
            "parameters": parameters,
            "encrypt s": round(min(encrypting), 3),
            "add s": round(min(adding), 3),
            "decrypt s": round(min(decrypting), 3),
            "ciphertext MB per million": round(size / parameters, 2),
            "ratio to float32": round(size / (4 * parameters), 2),
            "public context kB": round(len(public.to_bytes()) / 1000, 1),
            "secret context kB": round(len(secret.to_bytes()) / 1000, 1),
            "relative error": f"{error:.1e}",
        }
    ]
