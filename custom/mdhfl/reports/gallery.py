"""The pictures of one report: collected once, embedded in the page, and written as files beside it."""

import base64
import io
import re
import struct
from dataclasses import dataclass, field
from pathlib import Path

from mdhfl.files import check_prepared_image

DRAWN_DPI = 150
CSS_DPI = 96
DENSE_PIXELS = 800  # as drawn
SHEET_PIXELS = 1400  # longest side of an embedded contact sheet
TILE_PIXELS = 96  # longest side of an embedded single image
SHEET_BYTES = 400_000  # a bigger PNG is embedded as JPEG


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One embedded picture.

    Attributes:
        name: of its file in figures/.
        source: data URI.
        alt: what it shows, for those who do not see it.
        caption: one line below it.
        width: in CSS pixels.
        height: in CSS pixels.
        photo: whether it shows images (never recoloured in dark mode) rather than a chart.
        dense: whether it is unreadable when shrunk to a phone's width.
    """

    name: str
    source: str
    alt: str
    caption: str
    width: int
    height: int
    photo: bool
    dense: bool


@dataclass
class Gallery:
    """Collects pictures; file names are made safe and unique."""

    files: dict[str, bytes] = field(default_factory=dict)

    def add_chart(self, name: str, png: bytes, *, alt: str, caption: str = "") -> Picture:
        """Add a drawn PNG."""
        width, height = struct.unpack(">II", png[16:24])
        return Picture(
            name=self._keep(name, png),
            source=_data_uri(png, kind="png"),
            alt=alt,
            caption=caption,
            width=round(width * CSS_DPI / DRAWN_DPI),
            height=round(height * CSS_DPI / DRAWN_DPI),
            photo=False,
            dense=width > DENSE_PIXELS,
        )

    def add_sheet(self, path: Path, *, name: str, alt: str, caption: str) -> Picture:
        """Add a contact sheet from a file, made moderately small.

        Raises:
            OSError: it cannot be read as an image.
        """
        from PIL import Image

        with Image.open(path) as image:
            sheet = image.convert("RGB")
        sheet.thumbnail((SHEET_PIXELS, SHEET_PIXELS))
        png = _encode(sheet, kind="png")
        small = png if len(png) <= SHEET_BYTES else _encode(sheet, kind="jpeg")
        return Picture(
            name=self._keep(name, png),
            source=_data_uri(small, kind="png" if small is png else "jpeg"),
            alt=alt,
            caption=caption,
            width=sheet.width,
            height=sheet.height,
            photo=True,
            dense=False,
        )

    def _keep(self, name: str, png: bytes) -> str:
        safe = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-")[:100] or "figure"
        unique, count = safe, 1
        while f"{unique}.png" in self.files:
            count += 1
            unique = f"{safe}-{count}"
        self.files[f"{unique}.png"] = png
        return f"{unique}.png"


def photo(path: Path) -> str:
    """Return an image of a federation folder as a data URI, made small; empty where it cannot be read."""
    from PIL import Image

    try:
        check_prepared_image(path)
        with Image.open(path) as image:
            tile = image.convert("RGB")
    except (OSError, ValueError, SyntaxError):
        return ""
    tile.thumbnail((TILE_PIXELS, TILE_PIXELS))
    return _data_uri(_encode(tile, kind="png"), kind="png")


def _encode(image: "object", *, kind: str) -> bytes:
    target = io.BytesIO()
    image.save(target, format=kind, **({"quality": 85} if kind == "jpeg" else {"optimize": True}))  # type: ignore[attr-defined]
    return target.getvalue()


def _data_uri(content: bytes, *, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"
