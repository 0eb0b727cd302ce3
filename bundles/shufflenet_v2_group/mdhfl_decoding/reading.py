"""Any picture as RGB uint8, of any depth, orientation and kind of file; or a reason why not.

This module and those it imports ship with every bundle: they need NumPy, Pillow and, for some files, tifffile or
pydicom.
"""

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from PIL import Image, UnidentifiedImageError

from mdhfl_decoding import dicom, png, tiff
from mdhfl_decoding.limits import DEFAULTS, Limits, too_large
from mdhfl_decoding.notes import note
from mdhfl_decoding.opacity import blended, on_white
from mdhfl_decoding.orientation import TURNED, orientation_of, turned
from mdhfl_decoding.pixels import Pixels, Samples, UnreadableImageError
from mdhfl_decoding.scaling import BY_RULE, Scaling, to_bytes
from mdhfl_decoding.sizes import check_pixels, out_of_memory
from mdhfl_decoding.tiff_header import ORIENTATION, TIFF_MAGIC

IMAGE_SUFFIXES = frozenset(
    {".bmp", ".dcm", ".gif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)
FORMATS = ("BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")  # whatever the suffix says, no other runs
DEEP_MODES = ("I", "I;16", "I;16B", "I;16L", "I;16N", "F")  # more than 8 bits, one channel
CLEAR_MODES = ("RGBA", "LA", "PA", "La", "RGBa")
JPEG_MAGIC, JPEG_SCAN = b"\xff\xd8", b"\xff\xda"
DEEPEST_PPM = 65535  # its largest sample, where nothing says how many bits are used
MOST_SCANS = 500  # of a JPEG: each goes over the whole picture, however short it is; programs write some ten
JPEG2000_SIZE, DEPTHS_AT = b"\xff\x4f\xff\x51", 42  # where its header begins; bytes from there to its channels' depths


def decode_rgb(data: bytes, *, limits: Limits = DEFAULTS, scaling: Scaling = BY_RULE) -> Pixels:
    """Decode an image file; its size is checked before its pixels are unpacked.

    Deep samples become 0..255 by `scaling.RULE`; transparent parts are laid on white; the picture is turned as its
    file says. What was done beyond unpacking is noted (`notes.listening`).

    Args:
        data: the file's bytes.
        limits: what one picture may take.
        scaling: how samples of more than 8 bits become 0..255.

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
        with warnings.catch_warnings(), _pillows_limit(limits.max_pixels):
            warnings.simplefilter("ignore")
            return _decoded(data, limits=limits, scaling=scaling)
    except UnreadableImageError:
        raise
    except UnidentifiedImageError as error:
        raise UnreadableImageError("not a recognised image format") from error
    except MemoryError as error:
        raise out_of_memory() from error
    except Image.DecompressionBombError as error:
        got = re.search(r"\d+", str(error))
        check_pixels(int(got.group()) if got else limits.max_pixels + 1, limits=limits)
        raise UnreadableImageError(_first_line(error)) from error
    except Exception as error:  # decoders raise whatever they like on damaged files
        raise UnreadableImageError(f"damaged or truncated image ({_first_line(error)})") from error


def array_rgb(array: Samples, *, scaling: Scaling = BY_RULE) -> Pixels:
    """An array of pixels as RGB uint8.

    Args:
        array: (height, width), (height, width, 1), (height, width, 3) or (height, width, 4); uint8 as it is, anything
            else scaled. A fourth channel is opacity.
        scaling: how.

    Raises:
        UnreadableImageError: another shape, no pixels, or values that are not finite.
    """
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4) or 0 in array.shape:
        raise UnreadableImageError(f"expected (height, width) with 1, 3 or 4 channels, got shape {array.shape}")
    colours = array[:, :, :3]
    shallow = colours if array.dtype == np.uint8 else to_bytes(colours, scaling=scaling)
    rgb = np.ascontiguousarray(np.broadcast_to(shallow, (*shallow.shape[:2], 3)), dtype=np.uint8)
    return blended(rgb, array[:, :, 3]) if array.shape[2] == 4 else rgb


def _decoded(data: bytes, *, limits: Limits, scaling: Scaling) -> Pixels:
    if dicom.is_dicom(data):
        return dicom.rgb_of(data, limits=limits, scaling=scaling)
    if png.is_deep(data):
        return png.deep_rgb(data, limits=limits, scaling=scaling)
    if data.startswith(TIFF_MAGIC):
        return _tiff_rgb(data, limits=limits, scaling=scaling)
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        check_pixels(image.width * image.height, limits=limits)
        if getattr(image, "is_animated", False):
            _of_several(image)
        if image.format == "JPEG2000":
            _check_depths(data)
        if image.format == "PPM" and image.mode == "RGB":
            return _ppm_rgb(image, data, scaling=scaling)
        return turned(_image_rgb(image, scaling=scaling), orientation_of(image))


def _tiff_rgb(data: bytes, *, limits: Limits, scaling: Scaling) -> Pixels:
    pages = tiff.pages_of(data, limits=limits)
    page = pages[0]
    if not tiff.is_plain(pages):
        return tiff.rgb_of(data, pages, limits=limits, scaling=scaling)
    try:
        image = Image.open(io.BytesIO(data), formats=("TIFF",))
    except UnidentifiedImageError:
        return tiff.rgb_of(data, pages, limits=limits, scaling=scaling)
    with image:
        image.seek(page.number)
        check_pixels(image.width * image.height, limits=limits)
        if page.first(ORIENTATION, 1) > 1:
            note(TURNED)  # by Pillow
        if image.mode in CLEAR_MODES and not tiff.has_opacity(page):
            return np.array(image.convert("RGB"), dtype=np.uint8)
        return _image_rgb(image, scaling=scaling)


def _ppm_rgb(image: Image.Image, data: bytes, *, scaling: Scaling) -> Pixels:
    """A PPM, of which Pillow keeps the higher 8 of 16 bits."""
    (tile,) = getattr(image, "tile", [])
    if tile.codec_name != "ppm" or tile.args[1] != DEEPEST_PPM:
        return _image_rgb(image, scaling=scaling)
    samples = np.frombuffer(data, ">u2", count=3 * image.width * image.height, offset=tile.offset)
    return array_rgb(samples.reshape(image.height, image.width, 3), scaling=scaling)


def _of_several(image: Image.Image) -> None:
    """Of a camera's file of several pictures the first is meant; nobody knows which of an animation is.

    Raises:
        UnreadableImageError: an animation.
    """
    if image.format != "MPO":
        raise UnreadableImageError(f"an animation ({image.format}): save the frame that is meant as a file of its own")
    note("the first of several pictures in one file")


def _check_depths(data: bytes) -> None:
    """Refuse colours of more than 8 bits in a JPEG 2000, of which Pillow would keep the higher 8."""
    start = data.index(JPEG2000_SIZE)
    channels = int.from_bytes(data[start + DEPTHS_AT - 2 : start + DEPTHS_AT], "big")
    depths = [depth % 128 + 1 for depth in data[start + DEPTHS_AT : start + DEPTHS_AT + 3 * channels : 3]]
    if channels > 1 and max(depths) > 8:
        raise UnreadableImageError(f"a JPEG 2000 of {channels} channels of {max(depths)} bits: save it as PNG or TIFF")


def _image_rgb(image: Image.Image, *, scaling: Scaling) -> Pixels:
    if 0 in image.size:
        raise UnreadableImageError("an image without pixels")
    if image.mode in DEEP_MODES:
        return array_rgb(np.asarray(image), scaling=scaling)
    if image.mode in CLEAR_MODES or "transparency" in image.info:
        return np.array(on_white(image.convert("RGBA")), dtype=np.uint8)
    return np.array(image.convert("RGB"), dtype=np.uint8)


@contextmanager
def _pillows_limit(max_pixels: int) -> Iterator[None]:
    """Make Pillow's own check that of ours: it looks at places (frames, tiles) that only the decoder knows."""
    before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, max(1, max_pixels // 2)  # it refuses above the double
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]
