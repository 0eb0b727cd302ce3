"""TIFFs: which of their pages, channels and samples make one RGB picture, and which are refused by name."""

import io
import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from PIL import Image

from mdhfl_decoding import tiff_header as tags
from mdhfl_decoding.limits import Limits, too_large
from mdhfl_decoding.notes import note
from mdhfl_decoding.opacity import blended
from mdhfl_decoding.orientation import TURNED, turned
from mdhfl_decoding.pixels import Pixels, Samples, UnreadableImageError
from mdhfl_decoding.scaling import BY_RULE, Scaling, to_bytes
from mdhfl_decoding.sizes import check_pixels, check_samples
from mdhfl_decoding.tiff_header import Page

if TYPE_CHECKING:
    import tifffile

STORED, LZW, DEFLATE, PACKBITS = (1,), (5,), (8, 32946), (32773,)  # how a TIFF's segments may be packed
BLOCK = 1 << 14  # packed bytes that are unpacked at once, to at most 1032 times as many
SLACK = 1 << 16  # bytes that some programs write beyond a segment's end
TWO_BYTES = {("RGB", 16), ("RGBA", 16), ("RGBX", 16), ("CMYK", 16)}  # modes of which Pillow keeps the higher byte


def pages_of(data: bytes, *, limits: Limits) -> list[Page]:
    """The pages that make the picture: one, or one a channel.

    Raises:
        UnreadableImageError: too large, several pictures, or pages that nobody declares to be channels.
        struct.error: the first header is cut.
    """
    pages = tags.read_pages(data)
    check_pixels(pages[0].first(tags.WIDTH, 0) * pages[0].first(tags.LENGTH, 0), limits=limits)
    # A tile is unpacked whole, however small the image.
    check_pixels(pages[0].first(tags.TILE_WIDTH, 0) * pages[0].first(tags.TILE_LENGTH, 0), limits=limits)
    if (slices := pages[0].first(tags.SLICES, 1)) > 1:
        raise UnreadableImageError(f"a volume of {slices} slices: save the one that is meant as a file of its own")
    channels = tags.declared_channels(pages[0], pages=len(pages))
    if channels not in (1, 3) or any(page.channels > 1 for page in pages[: channels if channels > 1 else 0]):
        raise UnreadableImageError(f"{channels} pages that are channels: expected 3 grey ones; save it as RGB")
    if channels == 1 and len(pages) > 1:
        count = f"{len(pages)} pages" if len(pages) < tags.MOST_PAGES else f"{tags.MOST_PAGES} pages or more"
        raise UnreadableImageError(
            f"a TIFF of {count}, not declared as channels of one picture: save each as a file of its own, or the one "
            "that is meant"
        )
    return pages


def is_plain(pages: Sequence[Page]) -> bool:
    """Whether a picture has what Pillow reads right: one page, up to 8 bits without sign, channels side by side."""
    page = pages[0]
    several = page.channels > 1 and page.first(tags.PHOTOMETRIC, 1) in (tags.WHITE_IS_ZERO, tags.BLACK_IS_ZERO)
    kind = page.first(tags.FORMAT, tags.UNSIGNED)
    return len(pages) == 1 and page.depth <= 8 and kind in (tags.UNSIGNED, tags.UNDEFINED) and not several


def has_opacity(page: Page) -> bool:
    """Whether the channel behind the colours is declared to be opacity; what is not is no opacity."""
    return page.first(tags.EXTRA, tags.UNSPECIFIED) in (tags.MULTIPLIED, tags.OPACITY)


def rgb_of(data: bytes, pages: Sequence[Page], *, limits: Limits, scaling: Scaling) -> Pixels:
    """Decode what Pillow does not, or not right.

    Args:
        data: the file's bytes.
        pages: as from `pages_of`.

    Returns:
        (height, width, 3) uint8.

    Raises:
        UnreadableImageError: too large, packed in a way that has no bound, or colours of another kind.
        Exception: whatever decoders raise on damaged files.
    """
    page = pages[0]
    samples = np.concatenate([_samples(data, one, limits=limits) for one in pages], axis=2)
    if samples.size == 0:
        raise UnreadableImageError("damaged TIFF (no pixels)")
    if len(pages) > 1:
        note(f"{len(pages)} pages joined as channels")
    return _colours(samples, page, scaling=scaling)


def _colours(samples: Samples, page: Page, *, scaling: Scaling) -> Pixels:
    """From all of a picture's channels, (height, width, channels), to RGB."""
    kind, channels = page.first(tags.PHOTOMETRIC, tags.BLACK_IS_ZERO), samples.shape[2]
    stated = page.depth if page.depth % 8 and page.depth < 16 else None
    inverted = kind == tags.WHITE_IS_ZERO
    if kind == tags.SEPARATED and channels >= 4:
        inks = _shallow(samples[:, :, :4], scaling=BY_RULE, bits=stated)
        return np.array(Image.frombytes("CMYK", (inks.shape[1], inks.shape[0]), inks.tobytes()).convert("RGB"))
    grey = kind in (tags.WHITE_IS_ZERO, tags.BLACK_IS_ZERO)
    opaque = not has_opacity(page)
    if kind == tags.RGB and channels in (3, 4):
        own = 3
    elif grey and channels in ((1, 3) if opaque else (2, 4)):
        own = channels if opaque else channels - 1
    else:
        raise UnreadableImageError(
            f"a TIFF of {channels} channel(s) of {page.depth} bits, photometric interpretation {kind}: expected grey, "
            "RGB or CMYK; save it as RGB"
        )
    colours = _shallow(samples[:, :, :own], scaling=scaling, bits=stated, inverted=inverted)
    colours = np.ascontiguousarray(np.broadcast_to(colours, (*colours.shape[:2], 3)))
    if opaque or own == channels:
        return colours
    return blended(colours, samples[:, :, own], multiplied=page.first(tags.EXTRA, 0) == tags.MULTIPLIED)


def _shallow(samples: Samples, *, scaling: Scaling, bits: int | None, inverted: bool = False) -> Pixels:
    if samples.dtype == np.uint8 and bits is None:
        return np.invert(samples) if inverted else samples
    return to_bytes(samples, scaling=scaling, bits=bits, inverted=inverted)


def _samples(data: bytes, page: Page, *, limits: Limits) -> Samples:
    """One page, (height, width, channels), turned as its tag says."""
    packing = page.first(tags.COMPRESSION, 1)
    without_gaps = page.depth > 8 and page.depth % 8 > 0
    if without_gaps and (page.depth, page.channels) != (12, 1):
        raise UnreadableImageError(f"a TIFF of {page.depth} bits without gaps: save it with 16 bits a channel")
    if packing in (*STORED, *DEFLATE, *PACKBITS) and not without_gaps:
        return turned(_unpacked(data, page, limits=limits), page.first(tags.ORIENTATION, 1))
    with Image.open(io.BytesIO(data), formats=("TIFF",)) as image:  # which turns it itself
        image.seek(page.number)
        check_pixels(image.width * image.height, limits=limits)
        if page.first(tags.ORIENTATION, 1) > 1:
            note(TURNED)
        if image.mode in ("I;16", "I;16B", "I;16L", "I", "F"):
            grey = np.asarray(image)
            return (grey.view(np.uint32) if _is_unsigned(page) and grey.dtype == np.int32 else grey)[:, :, None]
    side_by_side = page.first(tags.PLANAR, 1) == 1
    if packing in LZW and (image.mode, page.depth) in TWO_BYTES and side_by_side and _is_unsigned(page):
        higher, lower = (_bytes_of(data, page, rawmode=f"{image.mode};16{end}") for end in "LB")
        return higher.astype(np.uint16) << 8 | lower
    raise UnreadableImageError(f"a TIFF packed with method {packing}: save it with deflate, or as PNG")


def _is_unsigned(page: Page) -> bool:
    return page.first(tags.FORMAT, tags.UNSIGNED) in (tags.UNSIGNED, tags.UNDEFINED)


def _bytes_of(data: bytes, page: Page, *, rawmode: str) -> Pixels:
    """The higher or the lower bytes of 16-bit channels, as Pillow unpacks them in a machine's own order."""
    with Image.open(io.BytesIO(data), formats=("TIFF",)) as image:
        image.seek(page.number)
        image.tile = [tile._replace(args=(rawmode, *cast(tuple[Any, ...], tile.args)[1:])) for tile in image.tile]
        return np.asarray(image)


def _unpacked(data: bytes, page: Page, *, limits: Limits) -> Samples:
    """One page as tifffile decodes it, (height, width, channels)."""
    import tifffile  # a tenth of a second, for few files

    with tifffile.TiffFile(io.BytesIO(data)) as file:
        found = file.pages.first if page.number == 0 else file.pages[page.number]
        if not isinstance(found, tifffile.TiffPage):
            raise UnreadableImageError("damaged TIFF (a page without a header)")
        _check(found, data=data, limits=limits)
        samples = np.asarray(found.asarray(maxworkers=1))
    if found.samplesperpixel == 1:
        return samples.reshape((found.imagelength, found.imagewidth, 1))
    return np.moveaxis(samples, 0, -1) if found.planarconfig == 2 else samples


def _check(page: "tifffile.TiffPage", *, data: bytes, limits: Limits) -> None:
    check_pixels(page.imagewidth * page.imagelength * page.imagedepth, limits=limits)
    itemsize = np.dtype(page.dtype).itemsize if page.dtype is not None else 1
    segment = int(np.prod(page.chunks, dtype=object)) * itemsize
    for size in (page.nbytes, segment):
        check_samples(size, limits=limits)
    if page.compression in DEFLATE:
        for start, length in zip(page.dataoffsets, page.databytecounts, strict=True):
            _check_deflated(memoryview(data)[start : start + length], most=segment + SLACK)


def _check_deflated(packed: memoryview, *, most: int) -> None:
    """Unpack a segment in blocks, for its length only: tifffile would unpack it whole, however long."""
    unpacker, length = zlib.decompressobj(), 0
    for start in range(0, len(packed), BLOCK):
        length += len(unpacker.decompress(packed[start : start + BLOCK]))
        if length > most:
            raise UnreadableImageError(too_large(length, limit=most, unit="bytes in one segment of a TIFF"))
