"""Sources whose pictures are image files in a folder or a zip: all that differs is how they are listed."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from mdhfl.preprocessing.raw.archive import RawFiles, open_files
from mdhfl.preprocessing.raw.kinds import START, is_document, is_picture, unused
from mdhfl.preprocessing.raw.reading import IMAGE_SUFFIXES, decode_rgb
from mdhfl.preprocessing.raw.records import Pixels, Record, Skip, SourceCard, SourceOptions, Understood
from mdhfl.preprocessing.raw.traits import file_traits
from mdhfl.preprocessing.raw.twins import same_files
from mdhfl.preprocessing.raw.zip_files import DAMAGES

NO_CLASS = "lies in no class folder"


class Listing(NamedTuple):
    """What lies in raw data: pictures, and what is none."""

    records: list[Record]
    skips: list[Skip]
    understood: Understood = Understood()


Lister = Callable[[RawFiles, SourceOptions], Listing]


@dataclass(frozen=True)
class FileSource:
    """A dataset of image files.

    Attributes:
        card: what is to be known about it.
        lister: reads names (and a manifest, if there is one), never pixels.
    """

    card: SourceCard
    lister: Lister

    def open(self, raw: Path | None, *, options: SourceOptions) -> "OpenFileSource":
        """Open a folder or a zip.

        Raises:
            ValueError: no raw data given, or not in this layout.
        """
        if raw is None:
            raise ValueError(f"source {self.card.name}: needs {self.card.raw}; give it with --raw {self.card.url}")
        return OpenFileSource(open_files(raw, limits=options.limits), lister=self.lister, options=options)


class OpenFileSource:
    """A dataset of image files, opened."""

    def __init__(self, files: RawFiles, *, lister: Lister, options: SourceOptions) -> None:
        self.files, self.lister, self.options = files, lister, options
        self.listing: Listing | None = None
        self.traits: Mapping[str, str] = {}

    def records(self) -> list[Record]:
        """All pictures, sorted by key."""
        return self._listed().records

    def skipped(self) -> list[Skip]:
        """Links, and files that are no pictures."""
        return sorted([*self._listed().skips, *self.files.skipped])

    def understood(self) -> Understood:
        """What the listing took the data to be."""
        found = self._listed().understood
        return replace(found, notes=(*found.notes, *self.files.notes))

    def read(self, record: Record) -> Pixels:
        """Decode one file; `traits` then says what its header says."""
        data = self.files.read(record.key)
        pixels = decode_rgb(data, limits=self.options.limits, scaling=self.options.scaling)
        self.traits = file_traits(data)
        return pixels

    def twins(self, records: Iterable[Record]) -> dict[str, str]:
        """Key to a digest of its bytes, for the records that share theirs with another one."""
        return same_files(self.files, [record.key for record in records])

    def close(self) -> None:
        """Close the archive."""
        self.files.close()

    def _listed(self) -> Listing:
        if self.listing is None:
            found = self.lister(self.files, self.options)
            self.listing = found._replace(records=sorted(found.records))
        return self.listing


def image_paths(files: RawFiles) -> tuple[list[PurePosixPath], list[Skip]]:
    """The pictures, and the other files with the reason; where a suffix says nothing, a file's first bytes do."""
    paths, skips = [], []
    for name in files.names:
        path = PurePosixPath(name)
        if path.suffix.lower() in IMAGE_SUFFIXES:
            paths.append(path)
            continue
        try:
            with files.open(name) as stream:
                start = stream.read(START)
        except DAMAGES as error:
            skips.append(Skip(name, str(error), lost=True))
            continue
        if is_picture(start):
            paths.append(path)
        else:
            skips.append(Skip(name, unused(name), lost=not is_document(name, start)))
    return paths, skips


def in_class_folders(paths: Sequence[PurePosixPath], skips: list[Skip]) -> list[PurePosixPath]:
    """The files that lie in a folder; one at the top has no class and is added to the skips."""
    skips.extend(Skip(str(path), NO_CLASS, lost=True) for path in paths if len(path.parts) < 2)
    return [path for path in paths if len(path.parts) > 1]
