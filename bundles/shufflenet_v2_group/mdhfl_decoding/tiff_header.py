"""What the headers of a TIFF say, read before any decoder makes objects of them."""

import json
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from mdhfl_decoding.limits import too_large
from mdhfl_decoding.pixels import UnreadableImageError

TIFF_MAGIC = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
BYTES = (1, 2, 6, 7)  # types of a field that are kept as they are; of the others, each value becomes an object
FORMATS = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q"}  # of the fields that are looked at
MOST_VALUES = 1_000_000  # in one field
MOST_PAGES = 1000  # that are counted
MOST_TEXT = 1 << 20  # bytes of a description that are looked at

SUBFILE, WIDTH, LENGTH, BITS, COMPRESSION, PHOTOMETRIC, DESCRIPTION = 254, 256, 257, 258, 259, 262, 270
ORIENTATION, SAMPLES, PLANAR, TILE_WIDTH, TILE_LENGTH, EXTRA, FORMAT = 274, 277, 284, 322, 323, 338, 339
SLICES = 32997
LOOKED_AT = {
    SUBFILE, WIDTH, LENGTH, BITS, COMPRESSION, PHOTOMETRIC, ORIENTATION, SAMPLES, PLANAR, TILE_WIDTH, TILE_LENGTH,
    EXTRA, FORMAT, SLICES,
}  # fmt: skip
SMALLER, MASK = 1, 4  # bits of SUBFILE: a smaller copy of another page, a mask
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, SEPARATED = 0, 1, 2, 3, 5  # PHOTOMETRIC
UNSPECIFIED, MULTIPLIED, OPACITY = 0, 1, 2  # EXTRA
UNSIGNED, SIGNED, REAL, UNDEFINED = 1, 2, 3, 4  # FORMAT


@dataclass(frozen=True)
class Page:
    """One page's header.

    Attributes:
        number: from 0, counting every page of the file.
        tags: number of a field -> its values, of those that are looked at.
        description: its text, "" if there is none.
    """

    number: int
    tags: dict[int, tuple[int, ...]]
    description: str

    def first(self, tag: int, default: int) -> int:
        """The first value of a field."""
        return (self.tags.get(tag) or (default,))[0]

    @property
    def depth(self) -> int:
        """Bits of the deepest channel."""
        return max(self.tags.get(BITS) or (1,))

    @property
    def channels(self) -> int:
        """Values of a pixel."""
        return self.first(SAMPLES, 1)


def read_pages(data: bytes) -> list[Page]:
    """The pages that are pictures of their own: smaller copies and masks are left out.

    Raises:
        UnreadableImageError: a field of too many numbers, before a decoder makes an object of each.
        struct.error: the first header is cut.
    """
    pages = list(_pages(data))
    return [page for page in pages if not page.first(SUBFILE, 0) & (SMALLER | MASK)] or pages[:1]


def declared_channels(page: Page, *, pages: int) -> int:
    """How many of a file's pages are the channels of one picture, as its first page declares; 1: none.

    Understood are ImageJ's, OME's and tifffile's descriptions.

    Args:
        page: the first.
        pages: that the file has.

    Raises:
        UnreadableImageError: it declares several pictures, or more than the file holds.
    """
    for declared in (_imagej, _ome, _shaped):
        sizes = declared(page, pages=pages)
        if sizes is None:
            continue
        channels, others = sizes
        if others > 1:
            raise UnreadableImageError(f"a stack of {others} pictures: save the one that is meant as a file of its own")
        if channels != pages:
            raise UnreadableImageError(f"declares {channels} channels, but holds {pages} page(s): save it as one file")
        return channels
    return 1


def _pages(data: bytes) -> Iterator[Page]:
    order, big = "<" if data.startswith(b"II") else ">", b"+" in data[2:4]
    count, entry = struct.Struct(f"{order}{'Q' if big else 'H'}"), struct.Struct(f"{order}HH{'QQ' if big else 'II'}")
    place_of = struct.Struct(f"{order}{'Q' if big else 'I'}")
    (place,) = place_of.unpack_from(data, 8 if big else 4)
    seen: set[int] = set()
    while place and place not in seen and len(seen) < MOST_PAGES:
        seen.add(place)
        try:
            (number,) = count.unpack_from(data, place)
            start = place + count.size
            stop = start + min(number, 1 << 16) * entry.size
            page = _page(len(seen) - 1, data, start=start, stop=stop, entry=entry, order=order)
        except (struct.error, UnreadableImageError):
            if len(seen) == 1:
                raise
            return  # behind the last page some programs leave what is none
        if page.number and not {WIDTH, LENGTH} <= set(page.tags):
            return
        yield page
        (place,) = place_of.unpack_from(data, stop) if stop + place_of.size <= len(data) else (0,)


def _page(number: int, data: bytes, *, start: int, stop: int, entry: struct.Struct, order: str) -> Page:
    tags: dict[int, tuple[int, ...]] = {}
    description = ""
    inline = 8 if entry.size == 20 else 4
    stop = min(stop, start + (len(data) - start) // entry.size * entry.size)
    for index, (tag, kind, values, _) in enumerate(entry.iter_unpack(data[start:stop])):
        if kind not in BYTES and values > MOST_VALUES:
            raise UnreadableImageError(too_large(values, limit=MOST_VALUES, unit="numbers in a field of a TIFF"))
        wanted = tag in LOOKED_AT and kind in FORMATS
        if not wanted and tag != DESCRIPTION:
            continue
        size = struct.calcsize(FORMATS[kind]) if wanted else 1
        place = start + index * entry.size + entry.size - inline
        if values * size > inline:
            (place,) = struct.unpack_from(f"{order}{'Q' if inline == 8 else 'I'}", data, place)
        if wanted:
            tags[tag] = struct.unpack_from(f"{order}{min(values, 64)}{FORMATS[kind]}", data, place)
        else:
            description = data[place : place + min(values, MOST_TEXT)].decode("utf-8", errors="replace").strip("\x00 ")
    return Page(number, tags, description)


def _imagej(page: Page, *, pages: int) -> tuple[int, int] | None:
    if not page.description.startswith("ImageJ="):
        return None
    said = dict(re.findall(r"(?m)^(images|channels|slices|frames)=([0-9]{1,9})\s*$", page.description))
    images, channels = int(said.get("images", 1)), int(said.get("channels", 1))
    others = int(said.get("slices", 1)) * int(said.get("frames", 1))
    return channels, max(others, images // max(1, channels))


def _ome(page: Page, *, pages: int) -> tuple[int, int] | None:
    pixels = re.findall(r"<(?:\w+:)?Pixels\s[^>]*>", page.description)
    if not pixels:
        return None
    size = {name: int(value) for name, value in re.findall(r"\bSize([CZT])\s*=\s*[\"']([0-9]{1,9})[\"']", pixels[0])}
    channels = size.get("C", 1) // page.channels if size.get("C", 1) >= page.channels else 1
    others = size.get("Z", 1) * size.get("T", 1) * len(pixels)
    return channels, others if pages > channels else 1  # the others may lie in other files


def _shaped(page: Page, *, pages: int) -> tuple[int, int] | None:
    """tifffile's own: {"shape": [3, 24, 24], "axes": "CYX"}; without axes, nobody says what the pages are."""
    if not page.description.startswith('{"'):
        return None
    try:
        said = json.loads(page.description)
        shape, axes = [int(size) for size in said["shape"]], str(said["axes"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    if len(shape) != len(axes) or page.channels > 1 or pages == 1:
        return None
    sizes = dict(zip(axes, shape, strict=True))
    others = 1
    for axis, size in sizes.items():
        others *= size if axis not in "CYXS" else 1
    return sizes.get("C", 1), others
