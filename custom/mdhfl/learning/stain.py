"""A public set in a site's own stain: absorbances scaled to the site's own, background put on its own background.

By Beer and Lambert, a dye of concentration c lets a share exp(-k c) of the light through: intensities are compared in
optical densities, relative to the empty background of their own slide. There, staining more or longer multiplies, so
one factor per colour channel carries one slide's look to the other's, and what is empty stays empty. (A shift of means
in RGB or CIELAB would colour the background wherever two sets hold different amounts of it.) The idea of normalising
in optical density: Macenko et al., ISBI 2009. Everything is computed at the site; nothing of it leaves.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BACKGROUND = 95.0  # percentile of each channel that counts as the light of an empty slide
FAINTEST = 0.05  # optical density, mean over channels, below which a pixel counts as empty
STRONGEST, WEAKEST = 4.0, 0.25  # factors are held between these: a set that is all empty has no stain to speak of


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
    """Measure the stain of (M, 3, S, S) uint8 images."""
    pixels = images.transpose(0, 2, 3, 1).reshape(-1, 3)
    background = np.maximum(np.percentile(pixels, BACKGROUND, axis=0), 1.0)
    densities = _densities(pixels, background)
    stained = densities.mean(axis=1) > FAINTEST
    return Stain(background=background, density=densities[stained].mean(axis=0) if stained.any() else np.zeros(3))


def restained(images: NDArray[np.uint8], *, to: Stain) -> NDArray[np.uint8]:
    """Return (M, 3, S, S) uint8 images in another stain; the same for the same input, on every machine.

    Args:
        images: of one set, whose own stain is measured over all of them.
        to: the stain that they are to have.
    """
    own = stain_of(images)
    factor = np.divide(to.density, own.density, out=np.ones(3), where=(own.density > 0) & (to.density > 0))
    factor = np.clip(factor, WEAKEST, STRONGEST)
    levels = np.arange(256)
    changed = np.empty_like(images)
    for channel in range(3):  # one table per channel: every pixel of a value becomes the same value
        density = _densities(levels, own.background[channel])
        table = to.background[channel] * np.exp(-factor[channel] * density)
        changed[:, channel] = np.rint(np.clip(table, 0, 255)).astype(np.uint8)[images[:, channel]]
    return changed


def _densities(values: NDArray[np.integer], background: NDArray[np.float64] | np.float64) -> NDArray[np.float64]:
    """Return -log(values / background); lighter than the background is below 0."""
    densities: NDArray[np.float64] = -np.log(np.maximum(values, 1.0) / background)
    return densities
