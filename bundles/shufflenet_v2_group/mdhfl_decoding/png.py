"""PNGs with 16 bits in several channels, of which Pillow keeps the higher 8."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mdhfl_decoding.limits import Limits
from mdhfl_decoding.opacity import blended
from mdhfl_decoding.orientation import orientation_of, turned
from mdhfl_decoding.pixels import Pixels
from mdhfl_decoding.scaling import Scaling, to_bytes
from mdhfl_decoding.sizes import check_pixels

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
DEPTH, KIND = 24, 25  # bytes of the header
GREY, RGB, GREY_OPACITY, RGB_OPACITY = 0, 2, 4, 6


def is_deep(data: bytes) -> bool:
    """Whether a file is a PNG of 16 bits a channel."""
    return data.startswith(PNG_MAGIC) and data[DEPTH : DEPTH + 1] == b"\x10"


def deep_rgb(data: bytes, *, limits: Limits, scaling: Scaling) -> Pixels:
    """Decode a PNG of 16 bits a channel.

    Returns:
        (height, width, 3) uint8.

    Raises:
        UnreadableImageError: too large.
        Exception: whatever Pillow raises on damaged files.
    """
    with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
        check_pixels(image.width * image.height, limits=limits)
        clear = image.info.get("transparency")  # the colour that is transparent, if one is
        orientation = orientation_of(image)
        kind = data[KIND]
        if kind == GREY:
            samples = np.asarray(image)[:, :, None]
    if kind == RGB:
        samples = _two_bytes(data, mode="RGB")
    elif kind == RGB_OPACITY:
        samples = _two_bytes(data, mode="RGBA")
    elif kind == GREY_OPACITY:  # as wide as a pixel of RGBA
        four = _unpacked(data, mode="RGBA", rawmode="RGBA")
        samples = four[:, :, 0::2].astype(np.uint16) << 8 | four[:, :, 1::2]
    own = 3 if kind in (RGB, RGB_OPACITY) else 1
    colours = to_bytes(samples[:, :, :own], scaling=scaling)
    colours = np.ascontiguousarray(np.broadcast_to(colours, (*colours.shape[:2], 3)))
    if samples.shape[2] > own:
        colours = blended(colours, samples[:, :, own])
    elif clear is not None:
        colours = blended(colours, (samples != np.asarray(clear).reshape(-1)).any(axis=2))
    return turned(colours, orientation)


def _two_bytes(data: bytes, *, mode: str) -> NDArray[np.uint16]:
    """The 16-bit channels; ";16L" takes the second byte of each, which is the lower in a PNG."""
    higher, lower = (_unpacked(data, mode=mode, rawmode=f"{mode};16{end}") for end in "BL")
    return (higher.astype(np.uint16) << np.uint16(8)) | lower


def _unpacked(data: bytes, *, mode: str, rawmode: str) -> Pixels:
    with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
        image._mode = mode
        image.tile = [tile._replace(args=rawmode) for tile in image.tile]
        image.info.pop("transparency", None)
        return np.asarray(image)
