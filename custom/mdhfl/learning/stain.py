"""A public set in a site's own stain: absorbances scaled to the site's own, background put on its own background.

By Beer and Lambert, a dye of concentration c lets a share exp(-k c) of the light through: intensities are compared in
optical densities, relative to the empty background of their own slide. There, staining more or longer multiplies, so
one factor per colour channel carries one slide's look to the other's, and what is empty stays empty. (A shift of means
in RGB or CIELAB would colour the background wherever two sets hold different amounts of it.) The idea of normalising
in optical density: Macenko et al., ISBI 2009. Everything is computed at the site; nothing of it leaves.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BACKGROUND = 95.0  # percentile of each channel that counts as the light of an empty slide
FAINTEST = 0.05  # optical density, mean over channels, below which a pixel counts as empty
STRONGEST, WEAKEST = 4.0, 0.25  # factors are held between these: a set that is all empty has no stain to speak of
LEVELS = np.arange(256)  # values that a pixel may have
BLOCK = 1 << 16  # pixels looked at together: what is computed of them takes some 60 bytes each


@dataclass(frozen=True, kw_only=True)
class Stain:
    """How a set of images looks.

    Attributes:
        background: (3,) intensity of an empty slide, in (0, 255].
        density: (3,) mean optical density of what is not empty, above 0 where there is anything.
    """

    background: NDArray[np.float64]
    density: NDArray[np.float64]


def stain_of(images: NDArray[np.uint8]) -> Stain:
    """Measure the stain of (M, 3, S, S) uint8 images, M at least 1; takes little memory beside theirs."""
    flat = images.reshape(len(images), 3, -1)
    background = np.maximum(_percentiles(_counts(flat), BACKGROUND), 1.0)
    densities = _densities(LEVELS[:, None], background)
    total, stained = np.zeros((1, 3)), 0
    for there in _blocks(flat.shape):
        pixels = flat[there].transpose(0, 2, 1).reshape(-1, 3)
        mine = densities[pixels, np.arange(3)]
        mine = mine[mine.mean(axis=1) > FAINTEST]
        total = np.concatenate([total, mine]).sum(axis=0, keepdims=True)  # pixel after pixel, wherever they are cut
        stained += len(mine)
    return Stain(background=background, density=total[0] / max(stained, 1))


def restained(images: NDArray[np.uint8], *, to: Stain) -> NDArray[np.uint8]:
    """Return (M, 3, S, S) uint8 images in another stain; the same for the same input, on every machine.

    Args:
        images: of one set, whose own stain is measured over all of them.
        to: the stain that they are to have.
    """
    own = stain_of(images)
    factor = np.divide(to.density, own.density, out=np.ones(3), where=(own.density > 0) & (to.density > 0))
    factor = np.clip(factor, WEAKEST, STRONGEST)
    light = to.background * np.exp(-factor * _densities(LEVELS[:, None], own.background))
    table = np.rint(np.clip(light, 0, 255)).astype(np.uint8)  # (256, 3): every pixel of a value becomes the same value
    flat = images.reshape(len(images), 3, -1)
    changed = np.empty(flat.shape, dtype=np.uint8)
    for there in _blocks(flat.shape):
        changed[there] = table[flat[there], np.arange(3)[:, None]]
    return changed.reshape(images.shape)


def _blocks(shape: tuple[int, ...]) -> Iterator[tuple[slice, slice, slice]]:
    """Cut (M, 3, P) images into blocks of at most BLOCK pixels, in the order of the pixels."""
    count, _, pixels = shape
    together = max(1, BLOCK // max(pixels, 1))  # where it is 1, an image may be cut
    for first in range(0, count, together):
        for start in range(0, pixels, BLOCK):
            yield slice(first, first + together), slice(None), slice(start, start + BLOCK)


def _counts(flat: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return (3, 256): how many pixels of (M, 3, P) images have each value in each channel."""
    counts = np.zeros((3, len(LEVELS)), dtype=np.int64)
    for there in _blocks(flat.shape):
        for channel, mine in enumerate(flat[there].swapaxes(0, 1)):
            counts[channel] += np.bincount(mine.ravel(), minlength=len(LEVELS))
    return counts


def _percentiles(counts: NDArray[np.int64], percent: float) -> NDArray[np.float64]:
    """Return a percentile of each channel, bit for bit what np.percentile says of the pixels that were counted.

    Args:
        counts: (channels, 256) pixels of each value, at least one a channel.
        percent: from 0 to 100; between two pixels it is interpolated.
    """
    last = counts[0].sum() - 1
    place = last * (percent / 100)
    before = int(place)
    share = place - before
    below = counts.cumsum(axis=1)
    low, high = ((below <= min(rank, last)).sum(axis=1) for rank in (before, before + 1))
    step = high - low
    nearer: NDArray[np.float64] = low + step * share if share < 0.5 else high - step * (1 - share)  # as numpy rounds
    return nearer


def _densities(values: NDArray[np.integer], background: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return -log(values / background); lighter than the background is below 0."""
    densities: NDArray[np.float64] = -np.log(np.maximum(values, 1.0) / background)
    return densities
