"""NIfTI images (2-D, or volumes taken slice by slice) with a CSV of labels."""

import re
from dataclasses import replace
from pathlib import Path, PurePosixPath

from mdhfl.preprocessing.raw.archive import RawFiles, open_files
from mdhfl.preprocessing.raw.manifest_table import find_manifest, labels_file, part_name, read_rows, table_in
from mdhfl.preprocessing.raw.nifti_volume import Volume
from mdhfl.preprocessing.raw.records import Pixels, Record, Skip, SourceCard, SourceOptions, UnreadableImageError
from mdhfl.preprocessing.raw.sizes import check_number, out_of_memory
from mdhfl.preprocessing.raw.window import Spread

SUFFIXES = (".nii", ".nii.gz")
DAMAGED = -1  # slices of a file that cannot be read
WHOLE_NUMBER = re.compile(r"([0-9]{1,9})(\.0*)?")  # a table may have made 2.0 of slice 2
WHOLE_RANGE = (0.0, 100.0)  # percentiles

CARD = SourceCard(
    name="nifti",
    title="NIfTI images with a CSV of labels",
    licence="not stated",
    citation="not stated",
    url="",
    raw="a folder or a zip of .nii or .nii.gz with manifest.csv or --labels (file, class, optional group and split)",
)


class OpenNifti:
    """A folder or zip of NIfTI files, opened. The last volume stays open: its slices come one after another."""

    def __init__(self, files: RawFiles, *, options: SourceOptions) -> None:
        self.files, self.options = files, options
        self.last: tuple[str, Volume] | None = None
        self.slices: dict[str, int | None] = {}  # by path; None: a picture
        self.skips: list[Skip] = []
        self.planes: dict[str, str] = {}  # plane -> the first volume whose slices lie in it
        self.spread = Spread()

    def records(self) -> list[Record]:
        """One record a row: "scan.nii.gz" (2-D), or "scan.nii.gz#12" (slice 12 along the third axis, from 0).

        A volume named without a slice gives all of its slices. Unless the row has a group, a volume is a group of its
        own, so that it is never in two parts. Afterwards `options` has the data set's window.

        Raises:
            ValueError: a slice that is no whole number, or volumes whose slices lie in different planes.
        """
        rows, base, where = self._rows()
        known, records, self.skips = set(self.files.names), {}, []
        for row in rows:
            name, numbered, place = row["file"].partition("#")
            path = str(PurePosixPath(base) / name)
            if path not in known or not path.lower().endswith(SUFFIXES):
                self.skips.append(Skip(path, f"listed in {where}, but there is no such .nii or .nii.gz"))
                continue
            part, group = part_name(row["part"], where=where), row["group"] or path
            for key in self._keys(path, place if numbered else None):
                records[key] = Record(key=key, code=row["class"], group=group, part=part)
            check_number(len(records), unit="pictures", where=where, limits=self.options.limits)
        self._settle_window()
        return sorted(records.values())

    def skipped(self) -> list[Skip]:
        """Rows without a file, links."""
        return sorted([*self.skips, *self.files.skipped])

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

    def _rows(self) -> tuple[list[dict[str, str]], str, str]:
        if self.options.labels is not None:
            labels, limits = self.options.labels, self.options.limits
            return read_rows(labels_file(labels), where=str(labels), limits=limits), "", "the labels"
        name = find_manifest(self.files)
        if name is None:
            raise ValueError("source nifti: no manifest.csv (columns file, class) in the raw data; or give --labels")
        rows = read_rows(table_in(self.files, name), where=name, limits=self.options.limits)
        return rows, str(PurePosixPath(name).parent), name

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
