"""Pictures for people: contact sheets of cells, and a chart of classes by site. Drawn with Pillow alone.

matplotlib would take seconds to import, and on a fresh machine longer still to list the fonts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mdhfl.preprocessing.raw.records import Pixels

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

PAPER, INK, FAINT, RULE = (255, 255, 255), (30, 34, 42), (110, 118, 130), (222, 226, 232)
NOISY = (230, 97, 0)  # vermilion: far from every stain, and seen by the colour-blind too
TILE = 64  # pixels a cell is shown at
GAP = 8
MARGIN = 16
CAPTION = 13
HEAD = 56  # height of the title
MOST_ROWS = 100  # classes with a row of their own; the others share the last one


@dataclass(frozen=True)
class _Row:
    """One line of a sheet: its name, the images shown (by index), and how many there are in all."""

    name: str
    images: tuple[int, ...]
    total: int

    def amount(self) -> str:
        """The number of images, in words."""
        if len(self.images) < self.total:
            return f"{len(self.images)} of {self.total:,}"
        return {0: "no images", 1: "1 image"}.get(self.total, f"{self.total:,} images")


def contact_sheet(
    images: Sequence[Pixels],
    labels: Sequence[int] | None = None,
    *,
    title: str,
    classes: Sequence[str] = (),
    clean_labels: Sequence[int] | None = None,
    captions: Sequence[str] | None = None,
    columns: int = 12,
    path: Path | None = None,
) -> Image.Image:
    """Lay out images in a row for each class, by the label that the site is told; without labels in a plain grid.

    An image whose label is wrong stands first in its row, outlined, with its clean class below it. Wrong labels are
    shown at their own rate, so a row is a fair sample.

    Args:
        images: (height, width, 3) RGB each, of any size.
        labels: class index of each; None: unlabelled.
        classes: names by index; a class without an image is shown as such.
        clean_labels: the true class index of each, where labels may be wrong.
        captions: text below each image, "" for none; instead of `clean_labels`.
        columns: most images in a row; what is left out is counted.
        path: where to write it too, as PNG.

    Raises:
        ValueError: lists of different lengths, a label that is no class, or no column.
    """
    _check(images, labels=labels, clean_labels=clean_labels, captions=captions, classes=classes, columns=columns)
    if labels is None:
        rows = [_Row("", images=tuple(range(len(images))[start : start + columns]), total=len(images))
                for start in range(0, len(images), columns)]  # fmt: skip
    else:
        rows = _class_rows(labels, clean_labels=clean_labels, classes=classes, columns=columns)
    notes = list(captions or [""] * len(images))
    if labels is not None and clean_labels is not None:
        notes = [classes[clean] if clean != told else "" for told, clean in zip(labels, clean_labels, strict=True)]
    sheet = _draw_sheet(images, rows=rows, notes=notes, title=title, columns=columns, outlined=clean_labels is not None)
    if path is not None:
        save_png(sheet, path)
    return sheet


def class_chart(
    counts: Mapping[str, Mapping[str, int]], path: Path, *, title: str = "images by class and site"
) -> None:
    """Draw a table of numbers, shaded by each class's share of its site, and write it as PNG.

    Args:
        counts: site -> class -> images; a class that a site lacks is marked.
        path: of the PNG; equal counts give equal bytes.

    Raises:
        ValueError: no site or no class.
    """
    names = list(dict.fromkeys(name for row in counts.values() for name in row))
    if not names:
        raise ValueError("class chart: expected at least one site with a class, got none")
    names, counts = _with_one_row_for_the_rest(names, counts)
    sites = list(counts)
    box = max(84, *(_text_width(site, size=13) + 20 for site in sites))
    left = MARGIN + max(_text_width(name, size=13) for name in [*names, "all"]) + 16
    width = max(left + box * len(sites), _text_width(title, size=17) + MARGIN) + MARGIN
    chart = Image.new("RGB", (width, 84 + 28 * (len(names) + 1) + MARGIN), PAPER)
    draw = ImageDraw.Draw(chart)
    draw.text((MARGIN, MARGIN - 2), title, fill=INK, font=_font(17))
    for column, site in enumerate(sites):
        middle = left + box * column + box // 2
        total = sum(counts[site].values())
        draw.text((middle, 62), site, fill=INK, font=_font(13), anchor="mm")
        for row, name in enumerate(names):
            corner = (left + box * column, 78 + 28 * row)
            _draw_count(draw, counts[site].get(name, 0), corner=corner, width=box, total=total)
        draw.text((middle, 78 + 28 * len(names) + 16), f"{total:,}", fill=INK, font=_font(13), anchor="mm")
    for row, name in enumerate([*names, "all"]):
        draw.text((left - 12, 78 + 28 * row + (14 if row < len(names) else 16)), name, fill=INK, font=_font(13),
                  anchor="rm")  # fmt: skip
    save_png(chart, path)


def save_png(image: Image.Image, path: Path) -> None:
    """Write a PNG without any date: equal pictures are equal bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, "PNG", optimize=False)


def _draw_sheet(
    images: Sequence[Pixels], *, rows: Sequence[_Row], notes: Sequence[str], title: str, columns: int, outlined: bool
) -> Image.Image:
    legend = "outlined: the label is wrong; below it the clean class" if outlined and any(notes) else ""
    step = TILE + GAP + (CAPTION if any(notes) else 0)
    names = max((_text_width(row.name, size=13) for row in rows), default=0)
    left = MARGIN + (names + 18 if names else 0)
    heading = MARGIN + _text_width(title, size=17) + 24
    width = max(left + columns * (TILE + GAP), heading + _text_width(legend, size=13)) + MARGIN
    sheet = Image.new("RGB", (width, HEAD + len(rows) * step + MARGIN), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, MARGIN - 2), title, fill=INK, font=_font(17))
    draw.text((heading, MARGIN + 2), legend, fill=NOISY, font=_font(13))
    for number, row in enumerate(rows):
        top = HEAD + number * step
        if row.name:
            draw.text((MARGIN, top + TILE // 2 - 16), row.name, fill=INK, font=_font(13))
            draw.text((MARGIN, top + TILE // 2 + 2), row.amount(), fill=FAINT, font=_font(11))
        for place, member in enumerate(row.images):
            corner = (left + place * (TILE + GAP), top)
            _draw_tile(sheet, images[member], corner=corner, note=notes[member], outlined=outlined)
    return sheet


def _draw_tile(sheet: Image.Image, pixels: Pixels, *, corner: tuple[int, int], note: str, outlined: bool) -> None:
    left, top = corner
    sheet.paste(Image.fromarray(pixels).resize((TILE, TILE), Image.Resampling.BICUBIC), corner)
    if not note:
        return
    draw = ImageDraw.Draw(sheet)
    if outlined:
        draw.rectangle((left - 3, top - 3, left + TILE + 2, top + TILE + 2), outline=NOISY, width=3)
    text = _shortened(note, width=TILE + GAP - 2, size=10)
    draw.text((left - 3, top + TILE + 3), text, fill=NOISY if outlined else FAINT, font=_font(10))


def _draw_count(draw: ImageDraw.ImageDraw, count: int, *, corner: tuple[int, int], width: int, total: int) -> None:
    left, top = corner
    share = min(1.0, 1.5 * (count / total) ** 0.5) if total else 0.0  # the root keeps small shares apart
    red, green, blue = (round(255 + share * (dark - 255)) for dark in (38, 84, 150))
    draw.rectangle((left + 1, top + 1, left + width - 2, top + 26), fill=(red, green, blue), outline=RULE)
    ink = PAPER if share > 0.55 else INK
    text, colour = (f"{count:,}", ink) if count else ("none", NOISY)
    draw.text((left + width // 2, top + 14), text, fill=colour, font=_font(13), anchor="mm")


def _class_rows(
    labels: Sequence[int], *, clean_labels: Sequence[int] | None, classes: Sequence[str], columns: int
) -> list[_Row]:
    told = np.asarray(labels, dtype=np.int64)
    clean = told if clean_labels is None else np.asarray(clean_labels, dtype=np.int64)
    rows = []
    for index, name in enumerate(classes[:MOST_ROWS]):
        members = np.flatnonzero(told == index)
        wrong, right = members[clean[members] != index], members[clean[members] == index]
        room = min(columns, len(members))
        fair = round(room * len(wrong) / max(1, len(members)))
        number = min(room, max(fair, min(1, len(wrong)), room - len(right)))
        shown = [*wrong[:number].tolist(), *right[: room - number].tolist()]
        rows.append(_Row(name, images=tuple(shown), total=len(members)))
    if len(classes) > MOST_ROWS:
        others = np.flatnonzero(told >= MOST_ROWS).tolist()
        rows.append(_Row(_rest(len(classes)), images=tuple(others[:columns]), total=len(others)))
    return rows


def _with_one_row_for_the_rest(
    names: list[str], counts: Mapping[str, Mapping[str, int]]
) -> tuple[list[str], Mapping[str, Mapping[str, int]]]:
    if len(names) <= MOST_ROWS:
        return names, counts
    shown, rest, others = names[:MOST_ROWS], _rest(len(names)), names[MOST_ROWS:]
    summed = {
        site: {**{name: row.get(name, 0) for name in shown}, rest: sum(row.get(name, 0) for name in others)}
        for site, row in counts.items()
    }
    return [*shown, rest], summed


def _rest(classes: int) -> str:
    return f"{classes - MOST_ROWS} more classes"


def _check(
    images: Sequence[Pixels],
    *,
    labels: Sequence[int] | None,
    clean_labels: Sequence[int] | None,
    captions: Sequence[str] | None,
    classes: Sequence[str],
    columns: int,
) -> None:
    if columns < 1:
        raise ValueError(f"contact sheet: expected at least 1 column, got {columns}")
    lists: dict[str, Sequence[object] | None] = {"labels": labels, "clean_labels": clean_labels, "captions": captions}
    for name, values in lists.items():
        if values is not None and len(values) != len(images):
            raise ValueError(f"contact sheet: expected {len(images)} {name}, one per image, got {len(values)}")
    strangers = sorted({int(label) for label in [*(labels or []), *(clean_labels or [])]} - set(range(len(classes))))
    if strangers:
        raise ValueError(f"contact sheet: labels {strangers} are not among the {len(classes)} classes")


def _shortened(text: str, *, width: int, size: int) -> str:
    """The text, cut to so many pixels in its middle: names of classes differ at both ends."""
    tail = text[-8:]
    for kept in range(len(text), 0, -1):
        short = text if kept == len(text) else f"{text[:kept]}…{tail}"
        if _text_width(short, size=size) <= width:
            return short
    return text[:1]


def _text_width(text: str, *, size: int) -> int:
    return round(_font(size).getlength(text))


def _font(size: int) -> Font:
    return ImageFont.load_default(size)
