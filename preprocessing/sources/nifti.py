"""NIfTI images (2-D, or volumes taken slice by slice) with a table of labels."""

import re
from dataclasses import replace
from pathlib import Path

from mdhfl.preprocessing.raw.archive import RawFiles, open_files
from mdhfl.preprocessing.raw.manifest_table import find_table, label_table
from mdhfl.preprocessing.raw.nifti_volume import Volume
from mdhfl.preprocessing.raw.records import (
    Pixels,
    Record,
    Skip,
    SourceCard,
    SourceOptions,
    Understood,
    UnreadableImageError,
)
from mdhfl.preprocessing.raw.sizes import check_number, out_of_memory
from mdhfl.preprocessing.raw.table_join import FoundRow
from mdhfl.preprocessing.raw.window import Spread

SUFFIXES = (".nii", ".nii.gz")
DAMAGED = -1  # slices of a file that cannot be read
WHOLE_NUMBER = re.compile(r"([0-9]{1,9})(\.0*)?")  # a table may have made 2.0 of slice 2
WHOLE_RANGE = (0.0, 100.0)  # percentiles

CARD = SourceCard(
    name="nifti",
    title="NIfTI images with a table of labels",
    licence="not stated",
    citation="not stated",
    url="",
    raw="a folder or a zip of .nii or .nii.gz with a table of files and classes (CSV or Excel), or --labels",
)


class OpenNifti:
    """A folder or zip of NIfTI files, opened. The last volume stays open: its slices come one after another."""

    def __init__(self, files: RawFiles, *, options: SourceOptions) -> None:
        self.files, self.options = files, options
        self.last: tuple[str, Volume] | None = None
        self.slices: dict[str, int | None] = {}  # by path; None: a picture
        self.skips: list[Skip] = []
        self.told = Understood()
        self.planes: dict[str, str] = {}  # plane -> the first volume whose slices lie in it
        self.spread = Spread()

    def records(self) -> list[Record]:
        """One record a row: "scan.nii.gz" (2-D), or "scan.nii.gz#12" (slice 12 along the third axis, from 0).

        A volume named without a slice gives all of its slices. Unless the row has a group, a volume is a group of its
        own, so that it is never in two parts; slices of one volume without a group have that of its other rows.
        Afterwards `options` has the data set's window.

        Raises:
            ValueError: a slice that is no whole number, or volumes whose slices lie in different planes.
        """
        table = label_table(self.files, self.options, find=find_table, suffixes=SUFFIXES, slices=True)
        if table is None:
            raise ValueError("source nifti: no table (manifest.csv, .tsv or .xlsx) in the raw data; or give --labels")
        number = 0

        def keys(found: FoundRow) -> list[str]:
            nonlocal number
            pictures = self._keys(found.path, found.place)
            number += len(pictures)
            check_number(number, unit="pictures", where=table.rows.where, limits=self.options.limits)
            return pictures

        records, self.skips, self.told = table.listing(keys)
        self._settle_window()
        groups: dict[str, set[str]] = {}
        for record in records:
            groups.setdefault(record.key.partition("#")[0], set()).update({record.group or ""} - {""})
        return sorted(record if record.group else replace(record, group=_group(record, groups)) for record in records)

    def skipped(self) -> list[Skip]:
        """Rows without a file, links."""
        return sorted([*self.skips, *self.files.skipped])

    def understood(self) -> Understood:
        """What was understood of the table, once the records are listed, and how the names in a zip were read."""
        return replace(self.told, notes=(*self.told.notes, *self.files.notes))

    def read(self, record: Record) -> Pixels:
        """One 2-D image, its window scaled to 0..255."""
        path, _, place = record.key.partition("#")
        try:
            volume = self._volume(path)
            if not place:
                volume.check()
            return volume.rgb(int(place or 0), scaling=self.options.scaling)
        except UnreadableImageError:
            raise
        except MemoryError as error:
            raise out_of_memory() from error
        except Exception as error:  # decoders raise whatever they like on damaged files
            raise UnreadableImageError(f"damaged or unknown NIfTI ({error})") from error

    def close(self) -> None:
        """Close the archive."""
        self._forget()
        self.files.close()

    def _keys(self, path: str, place: str | None) -> list[str]:
        if path not in self.slices:
            self.slices[path] = self._count_slices(path)
        slices = self.slices[path]
        if slices == DAMAGED:
            return [path]  # reading it will say why
        if place is not None:
            number = WHOLE_NUMBER.fullmatch(place)
            if number is None:
                raise ValueError(
                    f"source nifti: {path}#{place}: expected a whole number from 0 for a slice along the third axis; "
                    "leave #... out for all of them"
                )
            return [f"{path}#{int(number.group(1)):04}"]
        return [path] if slices is None else [f"{path}#{index:04}" for index in range(slices)]

    def _count_slices(self, path: str) -> int | None:
        try:
            volume = self._volume(path)
            volume.check()
            if self.options.scaling.window is None:
                for place in range(volume.slices or 1):
                    self.spread.add(volume.read(place))
        except Exception:  # whatever decoders raise
            return DAMAGED
        if volume.plane is not None:
            self.planes.setdefault(volume.plane, path)
        if len(self.planes) > 1:
            (plane, first), (other, second) = self.planes.items()
            raise ValueError(
                f"source nifti: the slices of {first} are {plane}, those of {second} {other}: save all volumes in one "
                "orientation (nibabel.as_closest_canonical)"
            )
        return volume.slices

    def _settle_window(self) -> None:
        """One window for all slices of the data set; bytes are kept unless a window is asked for."""
        scaling = self.options.scaling
        if scaling.window is None and (scaling.percentiles is not None or not self.spread.only_bytes):
            window = self.spread.window(*(scaling.percentiles or WHOLE_RANGE))
            self.options = replace(self.options, scaling=replace(scaling, window=window))

    def _volume(self, path: str) -> Volume:
        if self.last is None or self.last[0] != path:
            self._forget()
            stream = self.files.open(path)
            try:
                self.last = path, Volume(stream, limits=self.options.limits)
            except Exception:
                stream.close()
                raise
        return self.last[1]

    def _forget(self) -> None:
        if self.last is not None:
            self.last[1].close()
        self.last = None


def _group(record: Record, groups: dict[str, set[str]]) -> str:
    path = record.key.partition("#")[0]
    return next(iter(groups[path])) if len(groups[path]) == 1 else path


class Nifti:
    """The source."""

    card = CARD

    def open(self, raw: Path | None, *, options: SourceOptions) -> OpenNifti:
        """Open a folder or a zip.

        Raises:
            ValueError: no raw data given, or neither a folder nor a zip.
        """
        if raw is None:
            raise ValueError(f"source nifti: needs {CARD.raw}; give it with --raw")
        return OpenNifti(open_files(raw, limits=options.limits), options=options)


SOURCE = Nifti()
