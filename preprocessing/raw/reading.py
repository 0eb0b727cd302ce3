"""Any picture as RGB uint8: grey, palette, CMYK, transparent, 16 bits; or a reason why not."""

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from mdhfl.preprocessing.raw.limits import DEFAULTS, Limits, too_large
from mdhfl.preprocessing.raw.records import Pixels, UnreadableImageError
from mdhfl.preprocessing.raw.sizes import check_pixels, out_of_memory
from mdhfl.preprocessing.raw.tiff import TIFF_MAGIC, check_fields, first_page

IMAGE_SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")  # whatever the suffix says, no other decoder runs
DEEP_MODES = ("I", "I;16", "I;16B", "I;16L", "I;16N", "F")  # more than 8 bits, one channel
JPEG_MAGIC, JPEG_SCAN = b"\xff\xd8", b"\xff\xda"
MOST_SCANS = 500  # of a JPEG: each goes over the whole picture, however short it is; programs write some ten
BLOCK = 1 << 20  # samples that are scaled at once
BITS_PER_SAMPLE, TILE_WIDTH, TILE_LENGTH = 258, 322, 323  # tags of a TIFF


def decode_rgb(data: bytes, *, limits: Limits = DEFAULTS) -> Pixels:
    """Decode an image file; its size is checked before its pixels are unpacked.

    Deep images (16 bits, float) are scaled from their own range to 0..255; transparent ones are laid on white; of
    several frames the first is taken.

    Args:
        data: the file's bytes.
        limits: what one picture may take.

    Returns:
        (height, width, 3) uint8.

    Raises:
        UnreadableImageError: with the reason.
    """
    if not data:
        raise UnreadableImageError("empty file (0 bytes)")
    if data.startswith(JPEG_MAGIC) and (scans := data.count(JPEG_SCAN)) > MOST_SCANS:
        raise UnreadableImageError(too_large(scans, limit=MOST_SCANS, unit="scans in a JPEG"))
    try:
        check_fields(data)
        with warnings.catch_warnings(), _pillows_limit(limits.max_pixels):
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                _check_sizes(image, limits=limits)
                return _tiff_rgb(data, limits=limits) if _is_deep_colour(image) else _image_rgb(image)
    except UnidentifiedImageError as error:
        if data.startswith(TIFF_MAGIC):
            return _tiff_rgb(data, limits=limits)
        raise UnreadableImageError("not a recognised image format") from error
    except UnreadableImageError:
        raise
    except MemoryError as error:
        raise out_of_memory() from error
    except Image.DecompressionBombError as error:
        got = re.search(r"\d+", str(error))
        check_pixels(int(got.group()) if got else limits.max_pixels + 1, limits=limits)
        raise UnreadableImageError(_first_line(error)) from error
    except Exception as error:  # decoders raise whatever they like on damaged files
        raise UnreadableImageError(f"damaged or truncated image ({_first_line(error)})") from error


def array_rgb(array: NDArray[np.generic]) -> Pixels:
    """An array of pixels as RGB uint8.

    Args:
        array: (height, width), (height, width, 1), (height, width, 3) or (height, width, 4); uint8 as it is, anything
            else scaled from its own range to 0..255. A fourth channel is opacity.

    Raises:
        UnreadableImageError: another shape, no pixels, or values that are not finite.
    """
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4) or 0 in array.shape:
        raise UnreadableImageError(f"expected (height, width) with 1, 3 or 4 channels, got shape {array.shape}")
    shallow = array if array.dtype == np.uint8 else scale_by_range(array)
    if shallow.shape[2] == 4:
        return _image_rgb(Image.fromarray(np.ascontiguousarray(shallow)))
    return np.ascontiguousarray(np.broadcast_to(shallow, (*shallow.shape[:2], 3)), dtype=np.uint8)


def scale_by_range(array: NDArray[np.generic]) -> Pixels:
    """Scale linearly so that the smallest value becomes 0 and the largest 255; a constant array becomes 0.

    Raises:
        UnreadableImageError: a value is NaN or infinite, or not a real number.
    """
    if array.dtype.kind not in "biuf":
        raise UnreadableImageError(f"expected whole or real numbers, got {array.dtype}")
    low, high = float(array.min()), float(array.max())
    if not np.isfinite([low, high, high - low]).all():
        raise UnreadableImageError("contains values that are not finite")
    scaled = np.zeros(array.shape, dtype=np.uint8)
    if high > low:
        values, flat = array.reshape(-1), scaled.reshape(-1)
        for start in range(0, len(values), BLOCK):  # all at once would take many times the image's own memory
            block = slice(start, start + BLOCK)
            flat[block] = np.rint((values[block].astype(np.float64) - low) * (255.0 / (high - low)))
    return scaled


@contextmanager
def _pillows_limit(max_pixels: int) -> Iterator[None]:
    """Make Pillow's own check that of ours: it looks at places (frames, tiles) that only the decoder knows."""
    before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, max(1, max_pixels // 2)  # it refuses above the double
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def _check_sizes(image: Image.Image, *, limits: Limits) -> None:
    check_pixels(image.width * image.height, limits=limits)
    tags = getattr(image, "tag_v2", {})
    if TILE_WIDTH in tags and TILE_LENGTH in tags:  # a tile is unpacked whole, however small the image
        check_pixels(int(tags[TILE_WIDTH]) * int(tags[TILE_LENGTH]), limits=limits)


def _is_deep_colour(image: Image.Image) -> bool:
    """A TIFF with more than 8 bits in several channels, of which Pillow would keep the highest 8."""
    bits = getattr(image, "tag_v2", {}).get(BITS_PER_SAMPLE, (8,))
    return image.mode in ("RGB", "RGBA", "RGBX") and max(bits) > 8


def _image_rgb(image: Image.Image) -> Pixels:
    if 0 in image.size:
        raise UnreadableImageError("an image without pixels")
    if image.mode in DEEP_MODES:
        return array_rgb(np.asarray(image))
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        if image.getchannel("A").getextrema()[0] != 255:
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.array(image.convert("RGB"), dtype=np.uint8)


def _tiff_rgb(data: bytes, *, limits: Limits) -> Pixels:
    try:
        array = first_page(data, limits=limits)
    except UnreadableImageError:
        raise
    except MemoryError as error:
        raise out_of_memory() from error
    except Exception as error:  # as above
        raise UnreadableImageError(f"damaged or unknown TIFF ({_first_line(error)})") from error
    if array.size == 0:
        raise UnreadableImageError("damaged TIFF (no pixels)")
    if array.ndim == 3 and array.shape[0] in (3, 4) and array.shape[2] not in (3, 4):
        array = np.moveaxis(array, 0, -1)
    return array_rgb(array)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]
