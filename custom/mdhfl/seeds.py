"""Every random number's seed: from words that say what it is for, the same on every machine."""

import hashlib

import numpy as np


def seed_from(*words: object) -> int:
    """Return a seed in [0, 2**63) that depends on nothing but the words."""
    text = "/".join(str(word) for word in words)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def stream(seed: int, *names: str) -> np.random.Generator:
    """Return the generator of one step, for example `stream(seed, "noise", "site-1")`.

    Streams of other names are independent, so that a step added later changes no other step's draws.
    """
    digest = hashlib.sha256("/".join(names).encode()).digest()
    words = [int.from_bytes(digest[start : start + 4], "big") for start in range(0, 16, 4)]
    return np.random.default_rng([seed, *words])
