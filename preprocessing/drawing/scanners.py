"""Scanners that drawn cells are photographed with: stain, focus, camera and light differ from site to site."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from mdhfl.seeds import stream

Field = NDArray[np.float64]
Generator = np.random.Generator

# Optical density in red, green and blue of one unit of each substance, matched by eye to May-Grünwald-Giemsa smears.
SUBSTANCES = ("chromatin", "basophilia", "eosin", "haemoglobin")
DENSITIES = np.array([[0.44, 0.82, 0.21], [0.36, 0.29, 0.07], [0.05, 0.30, 0.26], [0.11, 0.20, 0.17]])
WHITE = np.array([0.95, 0.91, 0.86])


@dataclass(frozen=True)
class Scanner:
    """One site's stain and microscope.

    Attributes:
        name: for example "scanner-01".
        field_of_view: side of a picture in micrometres.
        stain: (4, 3) optical density of each of `SUBSTANCES` in red, green, blue.
        focus: standard deviation of the blur in micrometres.
        white: (3,) colour of the empty background, 0 to 1.
        gamma: exponent of the camera's curve.
        noise: standard deviation of the camera's noise, 0 to 1.
        vignette: how much darker the corners are, 0 to 1.
        slope: (2,) change of the light from the middle to the right and to the lower edge.
        crowding: red cells per 100 square micrometres.
    """

    name: str
    field_of_view: float
    stain: tuple[tuple[float, float, float], ...]
    focus: float
    white: tuple[float, float, float]
    gamma: float
    noise: float
    vignette: float
    slope: tuple[float, float]
    crowding: float


def scanner(index: int, *, seed: int) -> Scanner:
    """Draw a site's scanner: the same index and seed give the same scanner.

    Raises:
        ValueError: a negative index.
    """
    if index < 0:
        raise ValueError(f"scanner {index}: expected an index from 0")
    generator = stream(seed, "scanner", str(index))
    strength = generator.uniform(0.85, 1.2)
    stain = DENSITIES * strength * generator.uniform(0.85, 1.15, (4, 1)) * generator.uniform(0.86, 1.16, 3)
    white = np.clip(WHITE + generator.uniform(-0.07, 0.05, 3), 0, 0.99)
    return Scanner(
        name=f"scanner-{index + 1:02}",
        field_of_view=float(generator.uniform(21, 25)),
        stain=tuple((float(red), float(green), float(blue)) for red, green, blue in stain),
        focus=float(generator.uniform(0.12, 0.42)),
        white=(float(white[0]), float(white[1]), float(white[2])),
        gamma=float(generator.uniform(0.85, 1.2)),
        noise=float(generator.uniform(0.006, 0.028)),
        vignette=float(generator.uniform(0, 0.12)),
        slope=(float(generator.uniform(-0.05, 0.05)), float(generator.uniform(-0.05, 0.05))),
        crowding=float(generator.uniform(0.7, 1.7)),
    )


def photograph(amounts: Field, *, scanner: Scanner, size: int, generator: Generator) -> NDArray[np.uint8]:
    """Take a picture of stained substances: Beer and Lambert's law, lens, pixels, camera.

    Args:
        amounts: (4, n, n) amount of each of `SUBSTANCES`, n at least `size`.
        size: side of the picture in pixels.
        generator: for focus, light and noise of this one picture.

    Returns:
        (size, size, 3) RGB.
    """
    samples = amounts.shape[-1]
    stain = np.array(scanner.stain) * generator.uniform(0.88, 1.12)
    light = np.power(10.0, -np.tensordot(stain.T, amounts, axes=1))  # (3, n, n)
    blur = scanner.focus * generator.gamma(6.0, 1 / 6.0) * samples / scanner.field_of_view
    lens = _lens(samples, size=size, blur=blur)
    seen = lens @ light @ lens.T * _illumination(scanner, size=size)
    seen *= np.array(scanner.white)[:, None, None] * generator.uniform(0.95, 1.04)
    seen = np.clip(seen, 0, 1) ** scanner.gamma + generator.normal(0, scanner.noise, seen.shape)
    return np.clip(np.rint(seen.transpose(1, 2, 0) * 255), 0, 255).astype(np.uint8)


def _lens(samples: int, *, size: int, blur: float) -> Field:
    """(size, samples): blurs one axis and adds up what falls on each pixel."""
    sample = (np.arange(samples) + 0.5) * size / samples
    pixel = np.arange(size) + 0.5
    spread = max(blur * size / samples, 0.35)  # in pixels; a pixel's own width is the least
    weights = np.exp(-0.5 * ((pixel[:, None] - sample) / spread) ** 2)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


@lru_cache(maxsize=64)
def _illumination(scanner: Scanner, *, size: int) -> Field:
    axis = (np.arange(size) + 0.5) / size * 2 - 1
    across, down = axis[None, :], axis[:, None]
    corners = 1 - scanner.vignette * (across**2 + down**2) / 2
    return np.asarray(corners * (1 + scanner.slope[0] * across + scanner.slope[1] * down))
