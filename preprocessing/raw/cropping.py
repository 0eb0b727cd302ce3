"""Centre crop and antialiased resize to the federation's square images."""

import numpy as np
from PIL import Image

from mdhfl.preprocessing.raw.records import Pixels


def crop_side(height: int, width: int, crop: float | None) -> int:
    """Side in pixels of the centred square that is kept.

    Args:
        crop: up to 1: a fraction of the shorter side; above 1: pixels (at most the shorter side); None: all of it.
    """
    shorter = min(height, width)
    if crop is None:
        return shorter
    side = round(crop * shorter) if crop <= 1 else round(crop)
    return max(1, min(side, shorter))


def square(pixels: Pixels, *, crop: float | None, size: int) -> Pixels:
    """The centred square of an image, scaled to size x size with an antialiasing filter (Lanczos).

    Args:
        pixels: (height, width, 3) uint8.
        crop: see `crop_side`.
        size: side of the result in pixels.

    Returns:
        (size, size, 3) uint8.
    """
    height, width = pixels.shape[:2]
    side = crop_side(height, width, crop)
    top, left = (height - side) // 2, (width - side) // 2
    centre = np.ascontiguousarray(pixels[top : top + side, left : left + side])
    if side == size:
        return centre
    return np.asarray(Image.fromarray(centre).resize((size, size), Image.Resampling.LANCZOS), dtype=np.uint8)


def parse_crops(texts: tuple[str, ...]) -> dict[str, float]:
    """Crops by source from texts such as "0.8" (every source) and "matek19=200" (one source).

    Returns:
        Source name to crop; the name "" stands for all sources not named.

    Raises:
        ValueError: not a number above 0.
    """
    crops = {}
    for text in texts:
        name, _, number = text.rpartition("=")
        try:
            value = float(number)
        except ValueError:
            value = 0.0
        if not 0 < value < float("inf"):
            raise ValueError(
                f"crop {text!r}: expected a fraction (0.8), pixels (200) or one source's (matek19=200), "
                "with a number above 0"
            )
        crops[name] = value
    return crops
