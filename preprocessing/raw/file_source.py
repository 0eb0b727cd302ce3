"""Sources whose pictures are image files in a folder or a zip: all that differs is how they are listed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from mdhfl.preprocessing.raw.archive import RawFiles, open_files
from mdhfl.preprocessing.raw.reading import IMAGE_SUFFIXES, decode_rgb
from mdhfl.preprocessing.raw.records import Pixels, Record, Skip, SourceCard, SourceOptions

Listing = tuple[list[Record], list[Skip]]
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

    def records(self) -> list[Record]:
        """All pictures, sorted by key."""
        return self._listed()[0]

    def skipped(self) -> list[Skip]:
        """Links, and files that are no pictures."""
        return sorted([*self._listed()[1], *self.files.skipped])

    def read(self, record: Record) -> Pixels:
        """Decode one file."""
        return decode_rgb(self.files.read(record.key), limits=self.options.limits, scaling=self.options.scaling)

    def close(self) -> None:
        """Close the archive."""
        self.files.close()

    def _listed(self) -> Listing:
        if self.listing is None:
            records, skips = self.lister(self.files, self.options)
            self.listing = sorted(records), skips
        return self.listing


def image_paths(files: RawFiles) -> tuple[list[PurePosixPath], list[Skip]]:
    """The files that look like images by their suffix, and the others with the reason."""
    paths, skips = [], []
    for name in files.names:
        path = PurePosixPath(name)
        if path.suffix.lower() in IMAGE_SUFFIXES:
            paths.append(path)
        else:
            skips.append(Skip(name, f"not an image file ({path.suffix or 'no suffix'})"))
    return paths, skips


def in_class_folders(paths: Sequence[PurePosixPath], skips: list[Skip]) -> list[PurePosixPath]:
    """The files that lie in a folder; one at the top has no class and is added to the skips."""
    skips.extend(Skip(str(path), "lies in no class folder") for path in paths if len(path.parts) < 2)
    return [path for path in paths if len(path.parts) > 1]
