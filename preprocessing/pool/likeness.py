"""Nearly identical pictures: a perceptual hash and a small grey copy of each finished image, and the pairs they join.

The hash is pHash (C. Zauner: Implementation and Benchmarking of Perceptual Image Hash Functions, 2010): which of the
8 x 8 lowest frequencies of the grey image's cosine transform are in the upper half, 64 bits. Cells that lie alike
share many of them, so a pair must also agree in its small grey copies.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mdhfl.preprocessing.raw.records import Pixels

LOW = 8  # frequencies along an axis
SIDE, SMALL = 32, 16  # of the grey image that is transformed, and of the copy that is kept
CORRELATION = 0.97  # of two small copies, at least
DIGITS = 6  # what is beyond is rounding, and may differ between machines
HASH_BYTES, BYTES = 8, 8 + SMALL * SMALL
BLOCK = 1 << 22  # hashes compared at once
ROWS = 1 << 14  # small copies compared at once

Pairs = NDArray[np.int64]  # (m, 2)

_TURNS = np.pi * np.arange(LOW)[:, None] * (2 * np.arange(SIDE)[None, :] + 1) / (2 * SIDE)
_COSINES = np.cos(_TURNS) * np.where(np.arange(LOW) == 0, 1 / SIDE, 2 / SIDE)[:, None] ** 0.5


def likeness_of(pixels: Pixels) -> bytes:
    """A picture's hash and small grey copy, BYTES long: equal for equal pictures on every machine.

    Args:
        pixels: (height, width, 3) uint8.
    """
    grey = Image.fromarray(pixels).convert("L").resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    waves = np.round(_COSINES @ np.asarray(grey, dtype=np.float64) @ _COSINES.T, DIGITS).ravel()
    middle = np.partition(waves, len(waves) // 2 - 1)[len(waves) // 2 - 1]
    return np.packbits(waves > middle).tobytes() + grey.resize((SMALL, SMALL), Image.Resampling.BOX).tobytes()


def near_pairs(likenesses: Sequence[bytes], *, within: int) -> Pairs:
    """The pairs whose hashes differ in at most `within` bits and whose small copies correlate by CORRELATION or more.

    Every such pair is found: of `within` + 1 bands of the hash, at least one is equal in both, so only pictures that
    share a band are compared. Of several pictures with one and the same likeness, each is paired with the first.

    Args:
        likenesses: of n pictures.
        within: bits; the more, the fewer pairs a band rules out.

    Returns:
        (m, 2) indices, the smaller one first, ascending.
    """
    first, later = _distinct(likenesses)
    found = [later]
    rows = np.frombuffer(b"".join(likenesses[index] for index in first.tolist()), dtype=np.uint8).reshape(-1, BYTES)
    hashes = np.ascontiguousarray(rows[:, :HASH_BYTES]).view(np.uint64).ravel()
    copies = _Copies.of(rows[:, HASH_BYTES:])
    for band in _bands(within):
        for members in _sharing(hashes & band):
            for pairs in _close(hashes, members, within=within):
                found.extend(first[block[copies.agree(block)]] for block in _blocks(pairs))
    return np.unique(np.sort(np.concatenate(found), axis=1), axis=0)


@dataclass(frozen=True)
class _Copies:
    """Small grey copies of n pictures; sums are of whole numbers, so that they are exact.

    Attributes:
        values: (n, pixels).
        sums: (n,) of the values.
        spreads: (n,) their variance, times the number of pixels squared.
    """

    values: NDArray[np.uint8]
    sums: NDArray[np.int64]
    spreads: NDArray[np.int64]

    @classmethod
    def of(cls, values: NDArray[np.uint8]) -> "_Copies":
        whole = values.astype(np.int32)
        sums, squares = whole.sum(axis=1, dtype=np.int64), (whole * whole).sum(axis=1, dtype=np.int64)
        return cls(values, sums=sums, spreads=squares * values.shape[1] - sums * sums)

    def agree(self, pairs: Pairs) -> NDArray[np.bool_]:
        """Which pairs correlate enough; a picture of one grey correlates with none."""
        left, right = pairs.T
        products = np.einsum("ij,ij->i", self.values[left].astype(np.int32), self.values[right].astype(np.int32))
        shared = products.astype(np.float64) * self.values.shape[1] - self.sums[left] * self.sums[right]
        enough = CORRELATION * np.sqrt(self.spreads[left].astype(np.float64) * self.spreads[right])
        agreed: NDArray[np.bool_] = (shared > 0) & (shared >= enough)
        return agreed


def _distinct(likenesses: Sequence[bytes]) -> tuple[NDArray[np.int64], Pairs]:
    """The first picture of each likeness, and each later one paired with its first."""
    first: dict[bytes, int] = {}
    pairs = [(first.setdefault(likeness, index), index) for index, likeness in enumerate(likenesses)]
    later = np.array([pair for pair in pairs if pair[0] != pair[1]], dtype=np.int64).reshape(-1, 2)
    return np.array(list(first.values()), dtype=np.int64), later


def _bands(within: int) -> list[np.uint64]:
    """Masks that cut 64 bits into `within` + 1 bands."""
    edges = np.linspace(0, 64, within + 2).round().astype(int).tolist()
    return [np.uint64((1 << high) - (1 << low)) for low, high in pairwise(edges)]


def _sharing(keys: NDArray[np.uint64]) -> Iterator[NDArray[np.int64]]:
    """The places of each key that occurs more than once."""
    order = np.argsort(keys, kind="stable")
    starts = np.flatnonzero(np.r_[True, keys[order][1:] != keys[order][:-1]][: len(keys)])
    sizes = np.diff(np.r_[starts, len(keys)])
    for start, size in zip(starts[sizes > 1].tolist(), sizes[sizes > 1].tolist(), strict=True):
        yield order[start : start + size]


def _close(hashes: NDArray[np.uint64], members: NDArray[np.int64], *, within: int) -> Iterator[Pairs]:
    mine, rows = hashes[members], max(1, BLOCK // len(members))
    for start in range(0, len(members), rows):
        left, right = np.nonzero(np.bitwise_count(mine[start : start + rows, None] ^ mine[None, :]) <= within)
        later = left + start < right
        yield np.stack([members[left[later] + start], members[right[later]]], axis=1)


def _blocks(pairs: Pairs) -> Iterator[Pairs]:
    for start in range(0, len(pairs), ROWS):
        yield pairs[start : start + ROWS]
