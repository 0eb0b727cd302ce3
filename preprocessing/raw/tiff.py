"""The TIFFs that Pillow does not know, 16 bits in three channels for one: checked by their header, then decoded."""

import io
import struct
import zlib
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mdhfl.preprocessing.raw.limits import Limits, too_large
from mdhfl.preprocessing.raw.records import UnreadableImageError
from mdhfl.preprocessing.raw.sizes import check_pixels, check_samples

if TYPE_CHECKING:
    import tifffile

TIFF_MAGIC = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
BYTES = (1, 2, 6, 7)  # types of a field that are kept as they are; of the others, each value becomes an object
MOST_VALUES = 1_000_000  # in one field
STORED, LZW, DEFLATE = (1,), (5,), (8, 32946)  # how a TIFF's segments may be packed
BLOCK = 1 << 14  # packed bytes that are unpacked at once, to at most 1032 times as many
SLACK = 1 << 16  # bytes that some programs write beyond a segment's end


def first_page(data: bytes, *, limits: Limits) -> NDArray[np.generic]:
    """The first page of a TIFF as tifffile decodes it.

    Args:
        data: the file's bytes.
        limits: what one picture may take.

    Returns:
        An array of any shape and type; channels may come first.

    Raises:
        UnreadableImageError: too large, or packed in a way that has no bound.
        Exception: whatever tifffile raises on damaged files.
    """
    import tifffile  # a tenth of a second, for few files

    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page = file.pages.first
        _check(page, data=data, limits=limits)
        return np.asarray(page.asarray(maxworkers=1))


def check_fields(data: bytes) -> None:
    """Refuse a TIFF whose first page has a field of too many numbers, before a decoder makes an object of each.

    Raises:
        UnreadableImageError: it has one.
        struct.error: it is cut.
    """
    if not data.startswith(TIFF_MAGIC):
        return
    order, big = "<" if data.startswith(b"II") else ">", b"+" in data[2:4]
    place = struct.unpack_from(f"{order}Q" if big else f"{order}I", data, 8 if big else 4)[0]
    number = struct.unpack_from(f"{order}Q" if big else f"{order}H", data, place)[0]
    entry = struct.Struct(f"{order}HHQQ" if big else f"{order}HHII")
    start = place + (8 if big else 2)
    for _, kind, values, _ in entry.iter_unpack(data[start : start + min(number, 1 << 16) * entry.size]):
        if kind not in BYTES and values > MOST_VALUES:
            raise UnreadableImageError(too_large(values, limit=MOST_VALUES, unit="numbers in a field of a TIFF"))


def _check(page: "tifffile.TiffPage", *, data: bytes, limits: Limits) -> None:
    check_pixels(page.imagewidth * page.imagelength * page.imagedepth, limits=limits)
    itemsize = np.dtype(page.dtype).itemsize if page.dtype is not None else 1
    segment = int(np.prod(page.chunks, dtype=object)) * itemsize
    for size in (page.nbytes, segment):
        check_samples(size, limits=limits)
    if page.compression not in (*STORED, *LZW, *DEFLATE):
        raise UnreadableImageError(
            f"a TIFF packed with method {int(page.compression)}: save it with deflate, or as PNG"
        )
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
