"""Drawn cells, the embedded default: needs no data. Each origin is one scanner with its own stain, focus and camera."""

from pathlib import Path

import numpy as np

from mdhfl.preprocessing.drawing.cell import draw_cell
from mdhfl.preprocessing.drawing.kinds import CLASSES
from mdhfl.preprocessing.drawing.scanners import Scanner, scanner
from mdhfl.preprocessing.raw.records import Pixels, Record, Skip, SourceCard, SourceOptions, Understood
from mdhfl.seeds import stream

SKEW = 20.0  # of the classes' shares between scanners: the higher, the more alike

CARD = SourceCard(
    name="synthetic",
    title="drawn blood cells",
    licence="Apache-2.0",
    citation="drawn by mdhfl; no patient and no microscope was involved",
    url="",
    codes=CLASSES,
    raw="nothing: it draws its own",
)


def synthetic_records(*, classes: tuple[str, ...], images: int, scanners: int, seed: int) -> list[Record]:
    """What will be drawn: for each scanner the same number of cells, the classes' shares a little different.

    Args:
        classes: of `cell_kinds.CLASSES`, in any order; empty: all.
        images: cells for each scanner.
        scanners: number of scanners.

    Returns:
        Records sorted by key; a record's origin is its scanner's name. Every scanner sees every class if it has at
        least as many images as there are classes.

    Raises:
        ValueError: an unknown class, or numbers below 1.
    """
    strangers = [name for name in classes if name not in CLASSES]
    if strangers:
        raise ValueError(f"source synthetic: cannot draw {', '.join(strangers)}; it knows {', '.join(CLASSES)}")
    if images < 1 or scanners < 1:
        raise ValueError(f"source synthetic: expected at least 1 image and 1 scanner, got {images} and {scanners}")
    names = tuple(name for name in CLASSES if name in classes or not classes)
    records = []
    for index in range(scanners):
        origin = scanner(index, seed=seed).name
        generator = stream(seed, "shares", origin)
        shares = generator.dirichlet(np.full(len(names), SKEW))
        codes = _dealt(names, images=images, shares=shares)
        records += [Record(key=f"{origin}/{number:06}", code=code, origin=origin) for number, code in enumerate(codes)]
    return sorted(records)


def _dealt(names: tuple[str, ...], *, images: int, shares: np.ndarray) -> list[str]:
    """One of each class, then the rest by share, in turns so that any first part of the list is mixed."""
    counts = np.ones(len(names), dtype=int)
    while counts.sum() < images:
        counts[np.argmax(shares * images - counts)] += 1
    places = [((turn + 0.5) / count, name) for name, count in zip(names, counts, strict=True) for turn in range(count)]
    return [name for _, name in sorted(places, key=lambda place: place[0])][:images]


class OpenSynthetic:
    """The drawing source, opened: knows its scanners."""

    def __init__(self, options: SourceOptions) -> None:
        self.options = options
        scanners = [scanner(index, seed=options.seed) for index in range(options.origins)]
        self.scanners: dict[str, Scanner] = {one.name: one for one in scanners}

    def records(self) -> list[Record]:
        """One record a cell to draw."""
        options = self.options
        return synthetic_records(
            classes=options.classes, images=options.images, scanners=options.origins, seed=options.seed
        )

    def skipped(self) -> list[Skip]:
        """Nothing."""
        return []

    def understood(self) -> Understood:
        """Nothing to tell."""
        return Understood()

    def read(self, record: Record) -> Pixels:
        """Draw one cell; which one depends on the seed and the record's key only."""
        seed = int(stream(self.options.seed, "drawing", record.key).integers(2**63))
        return draw_cell(record.code, seed=seed, scanner=self.scanners[record.origin], size=self.options.size)

    def close(self) -> None:
        """Nothing to release."""


class Synthetic:
    """The source."""

    card = CARD

    def open(self, raw: Path | None, *, options: SourceOptions) -> OpenSynthetic:
        """Make ready to draw.

        Raises:
            ValueError: raw data was given.
        """
        if raw is not None:
            raise ValueError(f"source synthetic: takes no raw data, got {raw}; leave --raw out, or name its source")
        return OpenSynthetic(options)


SOURCE = Synthetic()
