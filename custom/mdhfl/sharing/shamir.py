"""A secret in shares, so many of which give it back, and fewer tell nothing of it.

Shamir: "How to Share a Secret", Communications of the ACM, 1979: a polynomial over a prime field whose value at 0 is
the secret; a share is its value at 1, 2, ...
"""

from collections.abc import Mapping, Sequence

PRIME = 2**256 - 189
BYTES = 32  # of a secret, and of a share


def element(value: bytes) -> bytes:
    """Return 32 bytes as an element of the field, which all but one in 2^248 are already."""
    return (int.from_bytes(value, "big") % PRIME).to_bytes(BYTES, "big")


def split(secret: bytes, *, coefficients: Sequence[bytes], count: int) -> list[bytes]:
    """Return the shares at 1, 2, ..., `count`.

    Args:
        secret: an element, see `element`.
        coefficients: of the powers 1, 2, ...: secret random numbers of 32 bytes. One fewer than shares are needed.
        count: how many shares.
    """
    powers = [int.from_bytes(part, "big") % PRIME for part in (*reversed(coefficients), secret)]
    shares = []
    for x in range(1, count + 1):
        value = 0
        for coefficient in powers:
            value = (value * x + coefficient) % PRIME
        shares.append(value.to_bytes(BYTES, "big"))
    return shares


def weights_at_zero(places: Sequence[int]) -> list[int]:
    """Return by what the shares at these different places are multiplied, so that their sum is the secret."""
    weights = []
    for place in places:
        over, under = 1, 1
        for other in places:
            if other != place:
                over = over * other % PRIME
                under = under * (other - place) % PRIME
        weights.append(over * pow(under, -1, PRIME) % PRIME)
    return weights


def joined(shares: Mapping[int, bytes], *, weights: Sequence[int]) -> bytes:
    """Return the secret of exactly as many shares as it takes.

    Args:
        shares: place -> share.
        weights: of these places, in their order, see `weights_at_zero`.
    """
    parts = zip(shares.values(), weights, strict=True)
    total = sum(int.from_bytes(share, "big") * weight for share, weight in parts)
    return (total % PRIME).to_bytes(BYTES, "big")
