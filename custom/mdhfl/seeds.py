"""Every random number's seed: from words that say what it is for, the same on every machine."""

import hashlib


def seed_from(*words: object) -> int:
    """Return a seed in [0, 2**63) that depends on nothing but the words."""
    text = "/".join(str(word) for word in words)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
