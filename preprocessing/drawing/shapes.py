"""Shapes and textures that cells are drawn from: fields of numbers on a square grid measured in micrometres.

A shape is its signed distance (micrometres, negative inside); a texture is smooth noise of mean 0 and deviation
about 1. Everything separable is a product of small matrices, which keeps a picture at a few milliseconds.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float64]
Generator = np.random.Generator


@dataclass(frozen=True)
class Grid:
    """A square of `samples` by `samples` points, `width` micrometres wide, its middle at (0, 0)."""

    samples: int
    width: float

    @property
    def pitch(self) -> float:
        """Micrometres from one point to the next."""
        return self.width / self.samples

    def axis(self) -> Field:
        """(samples,) coordinate of each column, or row."""
        return (np.arange(self.samples, dtype=np.float64) + 0.5) * self.pitch - self.width / 2

    def points(self) -> tuple[Field, Field]:
        """(samples, samples) x and y of each point."""
        return np.meshgrid(self.axis(), self.axis())


def smooth_noise(grid: Grid, *, grain: float, generator: Generator) -> Field:
    """Noise whose blotches are about `grain` micrometres wide."""
    knots = max(4, min(grid.samples, round(grid.width / grain) + 3))
    spread = _spreading(grid.samples, knots=knots)
    return np.asarray(spread @ generator.normal(size=(knots, knots)) @ spread.T)


@lru_cache(maxsize=64)
def _spreading(samples: int, *, knots: int) -> Field:
    """(samples, knots): cubic B-splines, scaled so that independent knots of deviation 1 give about 1."""
    place = np.linspace(1, knots - 2, samples)
    distance = np.abs(place[:, None] - np.arange(knots))
    near = 2 / 3 - distance**2 + distance**3 / 2
    far = np.clip(2 - distance, 0, None) ** 3 / 6
    weights = np.where(distance < 1, near, far)
    return np.asarray(weights / np.sqrt((weights**2).sum(axis=1)).mean())


def blob(
    points: tuple[Field, Field],
    *,
    centre: tuple[float, float],
    radius: float,
    stretch: float,
    wobble: float,
    generator: Generator,
) -> Field:
    """Signed distance (nearly) of a round shape.

    Args:
        stretch: long by short axis, from 1; the direction is drawn.
        wobble: irregularity of the outline as a share of the radius.
    """
    x, y = points[0] - centre[0], points[1] - centre[1]
    turn = generator.uniform(0, np.pi)
    along, across = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    root = np.sqrt(stretch)
    distance = np.hypot(along / root, across * root)
    outline = np.full_like(distance, radius)
    if wobble > 0:
        angle = np.arctan2(across, along)
        for wave in range(2, 6):
            height = generator.normal(0, wobble / (wave - 0.5))
            outline += radius * height * np.cos(wave * angle + generator.uniform(0, 2 * np.pi))
    return np.asarray(distance - outline)


def ribbon(points: tuple[Field, Field], *, spine: Field, radii: Field) -> Field:
    """Signed distance of a bent, beaded band.

    Args:
        spine: (k, 2) points along its middle.
        radii: (k,) half its thickness at each.
    """
    distance = np.full_like(points[0], np.inf)
    for (x, y), radius in zip(spine, radii, strict=True):
        np.minimum(distance, np.sqrt((points[0] - x) ** 2 + (points[1] - y) ** 2) - radius, out=distance)
    return distance


def arc(*, length: float, bend: float, count: int) -> Field:
    """(count, 2) points along an arc of the given length that turns by `bend` radians, its centroid at (0, 0)."""
    turns = np.linspace(-bend / 2, bend / 2, count)
    if abs(bend) < 1e-3:
        line = np.linspace(-length / 2, length / 2, count)
        return np.stack([line, np.zeros(count)], axis=1)
    curve = length / bend * np.stack([np.sin(turns), -np.cos(turns)], axis=1)
    return np.asarray(curve - curve.mean(axis=0))


def beads(*, lobes: int, pinch: float, count: int) -> Field:
    """(count,) thickness along a band of that many lobes: 1 at each lobe, 1 - pinch between two."""
    along = np.linspace(0, 2 * np.pi * (lobes - 1), count)
    return np.asarray(1 - pinch * (1 - np.cos(along)) / 2)


def inside(distance: Field, *, edge: float) -> Field:
    """From 0 outside to 1 inside, changing over about `edge` micrometres."""
    return np.clip(0.5 - distance / edge, 0, 1)


def speckles(grid: Grid, *, centres: Field, sizes: Field) -> Field:
    """Round dots, 1 in their middles, less to the edges; where dots overlap, at most 1.

    Args:
        centres: (k, 2) micrometres.
        sizes: (k,) radii in micrometres.
    """
    axis = grid.axis()
    across = np.exp(-0.5 * ((axis - centres[:, :1]) / sizes[:, None] * 1.2) ** 2)
    down = np.exp(-0.5 * ((axis - centres[:, 1:]) / sizes[:, None] * 1.2) ** 2)
    return np.clip(2.0 * (down.T @ across) - 0.6, 0, 1)


def scattered(count: int, *, centre: tuple[float, float], radius: float, generator: Generator) -> Field:
    """(count, 2) points drawn evenly from a disc."""
    angle = generator.uniform(0, 2 * np.pi, count)
    away = radius * np.sqrt(generator.uniform(0, 1, count))
    return np.stack([centre[0] + away * np.cos(angle), centre[1] + away * np.sin(angle)], axis=1)
