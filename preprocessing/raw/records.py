"""The records that preprocessing's steps hand to each other, and what a source must offer."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from mdhfl.preprocessing.raw.limits import DEFAULTS, Limits
from mdhfl.preprocessing.raw.pixels import Pixels, UnreadableImageError
from mdhfl.preprocessing.raw.scaling import BY_RULE, Scaling
from mdhfl.preprocessing.raw.table_reading import TableReading

__all__ = [
    "NOT_STATED",
    "PARTS",
    "OpenSource",
    "Pixels",
    "Record",
    "Skip",
    "Source",
    "SourceCard",
    "SourceOptions",
    "Understood",
    "UnreadableImageError",
]

PARTS = ("training", "validation", "test")

NOT_STATED = "not stated"  # licence or citation of data in a general format


@dataclass(frozen=True, order=True)
class Record:
    """One labelled picture of a source, not yet read.

    Attributes:
        key: its name within the source, unique and stable (a path relative to the data's top folder).
        code: the source's own class code, for example "BNE" or "neutrophil".
        group: what must stay in one part (a patient, a slide, a parent image); None: the picture stands alone.
        part: "training", "validation" or "test" where the source fixes it, else None.
        origin: where it was taken (a scanner, a hospital), for the split by source; "" means the source itself.
    """

    key: str
    code: str
    group: str | None = None
    part: str | None = None
    origin: str = ""


@dataclass(frozen=True, order=True)
class Skip:
    """A file that was left out, and why.

    Attributes:
        lost: it looks like data, so it counts towards the share of files that may be left out.
    """

    file: str
    reason: str
    lost: bool = False


@dataclass(frozen=True)
class Understood:
    """What a source took its raw data to be: told before anything is written.

    Attributes:
        levels: what each folder level means, as `--levels` takes it; "": the source has none.
        classes: the order that the dataset gives its classes; empty: none.
        notes: one sentence each.
        table: what was understood of a table of labels; None: none was read.
    """

    levels: str = ""
    classes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    table: TableReading | None = None


@dataclass(frozen=True)
class SourceCard:
    """What is to be known about a dataset.

    Attributes:
        codes: the class codes it may give; empty: found in the data.
        raw: what `--raw` has to be, in one phrase for the help text.
    """

    name: str
    title: str
    licence: str
    citation: str
    url: str
    codes: tuple[str, ...] = ()
    raw: str = "a folder or a zip"

    @property
    def is_stated(self) -> bool:
        """Whether licence and citation are known: those of a format are the user's to say."""
        return self.licence != NOT_STATED


@dataclass(frozen=True)
class SourceOptions:
    """What some sources need beyond the raw path; each source reads only what concerns it.

    Attributes:
        seed: for sources that draw (synthetic).
        size: side in pixels of the pictures that a drawing source makes.
        classes: the federation's classes, for a drawing source; empty: all it knows.
        origins: number of scanners (= sites, split by source) that a drawing source imitates.
        images: pictures that a drawing source makes for each origin, all parts together.
        labels: table of labels (manifest, nifti) where it does not lie beside the data.
        columns: which column of a table is what, as of `table_columns.parse_columns`.
        fold: of a table: its pictures are the test part, and no others.
        levels: what each folder level means (folder), for example "split/class/group"; "": found in the data.
        unlabelled: pictures of the public set: no class, no level is looked for (folder).
        limits: how much the raw data may take.
        scaling: how samples of more than 8 bits become 0..255.
    """

    seed: int = 0
    size: int = 64
    classes: tuple[str, ...] = ()
    origins: int = 4
    images: int = 400
    labels: Path | None = None
    levels: str = ""
    unlabelled: bool = False
    columns: str = ""
    fold: str | None = None
    limits: Limits = DEFAULTS
    scaling: Scaling = BY_RULE


class OpenSource(Protocol):
    """A source opened on its raw data. Opened once in each worker process; never pickled.

    Attributes:
        options: as given; once its records are listed, with what only the data can say (the window of volumes).
    """

    options: SourceOptions

    def records(self) -> list[Record]:
        """All pictures in a stable order (sorted by key); reads no pixels."""

    def skipped(self) -> list[Skip]:
        """Files seen while listing that are no pictures of the dataset."""

    def understood(self) -> Understood:
        """What the listing took the data to be."""

    def read(self, record: Record) -> Pixels:
        """Decode one picture as RGB uint8 (height, width, 3).

        Raises:
            UnreadableImageError: corrupt, truncated, empty or no image; the record is then skipped with this reason.
        """

    def close(self) -> None:
        """Release files."""


class Source(Protocol):
    """A dataset's file in `sources/`: a module-level `SOURCE` with a card and a way to open raw data."""

    @property
    def card(self) -> SourceCard:
        """Title, licence, citation, codes."""

    def open(self, raw: Path | None, *, options: SourceOptions) -> OpenSource:
        """Open the raw data.

        Raises:
            ValueError: the raw data is missing or not in this dataset's layout.
        """
