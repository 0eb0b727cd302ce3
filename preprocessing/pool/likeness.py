"""Nearly identical pictures: a perceptual hash of each finished image, and the pairs whose hashes differ in few bits.

The hash is pHash (C. Zauner: Implementation and Benchmarking of Perceptual Image Hash Functions, 2010): which of the
lowest frequencies of the grey image's cosine transform lie above their median. The 8 x 8 lowest give 64 bits, in which
pairs can be searched; the 16 x 16 lowest give 256, which tell look-alikes from copies.
"""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mdhfl.preprocessing.raw.records import Pixels

COARSE, FINE = 8, 16  # frequencies along an axis
FINE_BITS = 8  # of the fine hash may differ for each bit of the coarse one
WORDS = (COARSE**2 + FINE**2) // 64
SIDE = 32
DIGITS = 6  # what is beyond is rounding, and may differ between machines
BLOCK = 1 << 22  # pairs compared at once

Hashes = NDArray[np.uint64]  # (n, WORDS)
Pairs = NDArray[np.int64]  # (m, 2)

_TURNS = np.pi * np.arange(FINE)[:, None] * (2 * np.arange(SIDE)[None, :] + 1) / (2 * SIDE)
_COSINES = np.cos(_TURNS) * np.where(np.arange(FINE) == 0, 1 / SIDE, 2 / SIDE)[:, None] ** 0.5


def likeness_hash(pixels: Pixels) -> bytes:
    """The bits of a picture's coarse and fine hash, 8 * WORDS bytes: equal for equal pictures on every machine.

    Args:
        pixels: (height, width, 3) uint8.
    """
    grey = Image.fromarray(pixels).convert("L").resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    waves = np.round(_COSINES @ np.asarray(grey, dtype=np.float64) @ _COSINES.T, DIGITS)
    bits = [_above_the_middle(waves[:low, :low].ravel()) for low in (COARSE, FINE)]
    return np.packbits(np.concatenate(bits)).tobytes()


def stacked(hashes: list[bytes]) -> Hashes:
    """The hashes of n pictures as an (n, WORDS) array."""
    return np.frombuffer(b"".join(hashes), dtype=np.uint64).reshape(len(hashes), WORDS)


def near_pairs(hashes: Hashes, *, within: int) -> Pairs:
    """The pairs whose coarse hashes differ in at most `within` bits and whose fine ones in at most 8 times as many.

    Every such pair is found: of `within` + 1 bands of the coarse hash, at least one is equal in both, so only pictures
    that share a band are compared. Of several pictures with one and the same hash, each is paired with the first.

    Args:
        hashes: of n pictures.
        within: bits; the more, the fewer pairs a band rules out.

    Returns:
        (m, 2) indices, the smaller one first, ascending.
    """
    distinct, first, place = np.unique(hashes, axis=0, return_index=True, return_inverse=True)
    place = place.reshape(-1)
    later = np.flatnonzero(first[place] != np.arange(len(hashes)))
    found = [np.stack([first[place[later]], later], axis=1)]
    for band in _bands(within):
        for members in _sharing(distinct[:, 0] & band):
            found.extend(first[pairs] for pairs in _close(distinct, members, within=within))
    pairs = np.sort(np.concatenate(found), axis=1)
    return np.unique(pairs, axis=0).astype(np.int64)


def _above_the_middle(waves: NDArray[np.float64]) -> NDArray[np.bool_]:
    half = len(waves) // 2
    middle = np.partition(waves, (half - 1, half))[half - 1 : half + 1].mean()
    above: NDArray[np.bool_] = waves > middle
    return above


def _bands(within: int) -> list[np.uint64]:
    """Masks that cut 64 bits into `within` + 1 bands."""
    edges = np.linspace(0, 64, within + 2).round().astype(int).tolist()
    return [np.uint64((1 << high) - (1 << low)) for low, high in pairwise(edges)]


def _sharing(keys: NDArray[np.uint64]) -> Iterator[NDArray[np.int64]]:
    """The places of each key that occurs more than once."""
    order = np.argsort(keys, kind="stable")
    starts = np.flatnonzero(np.r_[True, keys[order][1:] != keys[order][:-1]]) if len(keys) else np.empty(0, np.int64)
    sizes = np.diff(np.r_[starts, len(keys)])
    for start, size in zip(starts[sizes > 1].tolist(), sizes[sizes > 1].tolist(), strict=True):
        yield order[start : start + size]


def _close(hashes: Hashes, members: NDArray[np.int64], *, within: int) -> Iterator[Pairs]:
    rows = max(1, BLOCK // len(members))
    coarse = hashes[members, 0]
    for start in range(0, len(members), rows):
        left, right = np.nonzero(np.bitwise_count(coarse[start : start + rows, None] ^ coarse[None, :]) <= within)
        left += start
        pairs = np.stack([members[left], members[right]], axis=1)[left < right]
        fine = np.bitwise_count(hashes[pairs[:, 0], 1:] ^ hashes[pairs[:, 1], 1:]).sum(axis=1)
        yield pairs[fine <= FINE_BITS * within]
