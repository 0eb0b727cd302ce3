"""Any image as the model has seen it in training: 8-bit RGB, the centre square, scaled with Lanczos' filter.

And what is found in it as text that is safe in a CSV file.

Ships with the bundle, as `mdhfl_decoding` does, and needs nothing but MONAI, NumPy and Pillow; for some kinds of files
tifffile, nibabel or pydicom. MONAI finds it because `monai.bundle run` puts the bundle's folder on Python's path.
"""

import re
from collections.abc import Hashable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy
import torch
from mdhfl_decoding.limits import Limits
from mdhfl_decoding.nifti_volume import Volume
from mdhfl_decoding.reading import IMAGE_SUFFIXES, decode_rgb
from mdhfl_decoding.scaling import Scaling
from monai.config import KeysCollection
from monai.transforms import MapTransform
from monai.utils import convert_to_numpy
from PIL import Image

VOLUMES = (".nii", ".nii.gz")


def picture_files(folder: str) -> list[Path]:
    """Return the pictures below a folder, sorted: files that end as pictures do, and each slice of a volume.

    Args:
        folder: to look into, with the folders in it.

    Returns:
        Paths; a slice is "scan.nii.gz#0012", as in a manifest.
    """
    names = sorted(path for path in Path(folder).rglob("*") if path.is_file())
    return [one for path in names for one in _pictures_in(path)]


def _pictures_in(path: Path) -> list[Path]:
    if not path.name.lower().endswith(VOLUMES):
        return [path] if path.suffix.lower() in IMAGE_SUFFIXES else []
    try:
        volume = Volume(path.open("rb"), limits=Limits())
    except Exception:  # reading it will say why
        return [path]
    volume.close()
    return [path] if volume.slices is None else [Path(f"{path}#{place:04}") for place in range(volume.slices)]


class ReadPictured(MapTransform):
    """Read pictures as `mdhfl prepare` does: any depth, orientation and kind of file to (3, H, W) uint8."""

    def __init__(
        self,
        keys: KeysCollection,
        window: Sequence[float] | None = None,
        nan: str = "refuse",
        max_pixels: int = Limits.max_pixels,
    ) -> None:
        """Say how.

        Args:
            keys: of the pictures' paths.
            window: the two values that become black and white where pictures have more than 8 bits; None: by depth.
            nan: "refuse" a picture with values that are not finite, or take them as "black".
            max_pixels: most pixels of one picture.
        """
        super().__init__(keys)
        low_high = None if window is None else (float(window[0]), float(window[1]))
        self.scaling, self.limits = Scaling(window=low_high, nan=nan), Limits(max_pixels=max_pixels)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return the item with its pictures as (3, H, W) uint8 tensors."""
        return {**data, **{key: self.read(str(data[key])) for key in self.key_iterator(data)}}

    def read(self, path: str) -> torch.Tensor:
        """Read one picture.

        Raises:
            ValueError: it cannot be read; says which and why.
        """
        name, _, place = path.partition("#") if not Path(path).exists() else (path, "", "0")
        try:
            if name.lower().endswith(VOLUMES):
                with closing(Volume(Path(name).open("rb"), limits=self.limits)) as volume:
                    pixels = volume.rgb(int(place), scaling=self.scaling)
            else:
                pixels = decode_rgb(self._bytes_of(Path(path)), limits=self.limits, scaling=self.scaling)
        except Exception as error:  # decoders raise whatever they like on damaged files
            raise ValueError(f"{path}: {error}; leave this file out") from error
        return torch.from_numpy(pixels.transpose(2, 0, 1).copy())

    def _bytes_of(self, path: Path) -> bytes:
        size = path.stat().st_size
        if size > self.limits.file:
            raise ValueError(f"too large: the limit is {self.limits.file:,} bytes, got {size:,}")
        return path.read_bytes()


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
