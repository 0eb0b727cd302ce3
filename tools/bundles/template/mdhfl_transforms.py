"""Any image as the model has seen it in training: 8-bit RGB, the centre square, scaled with Lanczos' filter.

And what is found in it as text that is safe in a CSV file.

Ships with the bundle and needs nothing but MONAI, NumPy and Pillow. MONAI finds it because `monai.bundle run` puts the
bundle's folder on Python's path.
"""

import re
from collections.abc import Hashable, Mapping
from typing import Any

import numpy
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform
from monai.utils import convert_to_numpy
from PIL import Image

TRANSPARENT = ("LA", "La", "PA", "RGBA", "RGBa")


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert an image of any mode to RGB: a `converter` for MONAI's PILReader.

    16 bits and floats are scaled from the image's own range to 0..255; transparent parts are laid on white.

    Raises:
        ValueError: a pixel is NaN or infinite.
    """
    if image.mode[0] in "IF":  # 16 bits, 32 bits or float, one channel
        image = Image.fromarray(scale_by_range(numpy.asarray(image)))
    if image.mode in TRANSPARENT or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def scale_by_range(pixels: numpy.ndarray) -> numpy.ndarray:
    """Scale linearly so that the smallest value becomes 0 and the largest 255; equal values become 0.

    Args:
        pixels: any shape and number type.

    Returns:
        uint8 of the same shape.

    Raises:
        ValueError: a value is NaN or infinite.
    """
    values = pixels.astype(numpy.float64)
    low, high = values.min(), values.max()
    if not numpy.isfinite([low, high]).all():
        raise ValueError(f"image: expected finite pixels, got values from {low} to {high}; leave this file out")
    scaled = (values - low) * (255.0 / (high - low)) if high > low else numpy.zeros_like(values)
    return numpy.rint(scaled).astype(numpy.uint8)


class CentreSquareCropd(MapTransform):
    """Keep the centred square of a (C, H, W) image."""

    def __init__(self, keys: KeysCollection, crop: float | None = None) -> None:
        """Say how much to keep.

        Args:
            keys: of the images.
            crop: up to 1: a share of the shorter side; above 1: pixels, at most the shorter side; None: all of it.

        Raises:
            ValueError: `crop` is not above 0.
        """
        super().__init__(keys)
        if crop is not None and not crop > 0:
            raise ValueError(f"crop: expected a share of the shorter side, pixels or null, got {crop}; give --crop 0.8")
        self.crop = crop

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return the item with its images cropped to (C, side, side)."""
        return {**data, **{key: self.centre(data[key]) for key in self.key_iterator(data)}}

    def centre(self, image: torch.Tensor) -> torch.Tensor:
        """Crop one image."""
        height, width = image.shape[1:]
        side = self.side(min(height, width))
        top, left = (height - side) // 2, (width - side) // 2
        return image[:, top : top + side, left : left + side]

    def side(self, shorter: int) -> int:
        """Return the square's side in pixels, for the shorter side of an image."""
        if self.crop is None:
            return shorter
        side = round(self.crop * shorter if self.crop <= 1 else self.crop)
        return max(1, min(side, shorter))


class LanczosResized(MapTransform):
    """Resize a (3, H, W) uint8 image as Pillow does, which smooths before it shrinks; MONAI's Resize has no Lanczos."""

    def __init__(self, keys: KeysCollection, size: int) -> None:
        """Set the keys of the images, and the side of the results in pixels."""
        super().__init__(keys)
        self.size = size

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return the item with its images as (3, size, size) uint8 tensors."""
        return {**data, **{key: self.resize(data[key]) for key in self.key_iterator(data)}}

    def resize(self, image: torch.Tensor) -> torch.Tensor:
        """Resize one image."""
        pixels = numpy.ascontiguousarray(convert_to_numpy(image).transpose(1, 2, 0))
        resized = Image.fromarray(pixels).resize((self.size, self.size), Image.Resampling.LANCZOS)
        return torch.from_numpy(numpy.array(resized).transpose(2, 0, 1).copy())


def csv_text(text: str) -> str:
    """Return a text that a spreadsheet shows: an apostrophe before a formula, escapes for what cannot be seen."""
    visible = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return re.sub(r"(^|;)([\s'\"]*[=+\-@\uff1d\uff0b\uff0d\uff20])", r"\1'\2", visible)
