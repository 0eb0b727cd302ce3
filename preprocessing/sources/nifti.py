"""NIfTI images (2-D, or volumes taken slice by slice) with a CSV of labels."""

import gzip
import re
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from mdhfl.preprocessing.raw.archive import RawFiles, open_files
from mdhfl.preprocessing.raw.manifest_table import find_manifest, labels_file, part_name, read_rows
from mdhfl.preprocessing.raw.reading import array_rgb
from mdhfl.preprocessing.raw.records import Pixels, Record, Skip, SourceCard, SourceOptions, UnreadableImageError

SUFFIXES = (".nii", ".nii.gz")

CARD = SourceCard(
    name="nifti",
    title="NIfTI images with a CSV of labels",
    licence="not stated",
    citation="not stated",
    url="",
    raw="a folder or a zip of .nii or .nii.gz with manifest.csv or --labels (file, class, optional group and split)",
)


class OpenNifti:
    """A folder or zip of NIfTI files, opened. The last volume read is kept: its slices come one after another."""

    def __init__(self, files: RawFiles, *, options: SourceOptions) -> None:
        self.files, self.options = files, options
        self.kept: tuple[str, NDArray[np.generic]] | None = None
        self.skips: list[Skip] = []

    def records(self) -> list[Record]:
        """One record a row: "scan.nii.gz" (2-D), or "scan.nii.gz#12" (slice 12 along the third axis).

        A volume named without a slice gives all of its slices. Unless the row has a group, a volume is a group of its
        own, so that it is never in two parts.
        """
        rows, base, where = self._rows()
        known, records, self.skips = set(self.files.names), {}, []
        for row in rows:
            name, _, place = row["file"].partition("#")
            path = str(PurePosixPath(base) / name)
            if path not in known or not path.lower().endswith(SUFFIXES):
                self.skips.append(Skip(path, f"listed in {where}, but there is no such .nii or .nii.gz"))
                continue
            part, group = part_name(row["part"], where=where), row["group"] or path
            for key in self._keys(path, place):
                records[key] = Record(key=key, code=row["class"], group=group, part=part)
        return sorted(records.values())

    def skipped(self) -> list[Skip]:
        """Rows without a file, links."""
        return sorted([*self.skips, *self.files.skipped])

    def read(self, record: Record) -> Pixels:
        """One 2-D image, scaled from its own range to 0..255."""
        path, _, place = record.key.partition("#")
        array = self._array(path)
        if place:
            if array.ndim < 3 or int(place) >= array.shape[2]:
                raise UnreadableImageError(f"has no slice {place}: shape {array.shape}")
            array = array[:, :, int(place)]
        return array_rgb(np.swapaxes(array, 0, 1))  # NIfTI's first axis runs along a row of the picture

    def close(self) -> None:
        """Close the archive."""
        self.kept = None
        self.files.close()

    def _rows(self) -> tuple[list[dict[str, str]], str, str]:
        if self.options.labels is not None:
            return read_rows(labels_file(self.options.labels), where=str(self.options.labels)), "", "the labels"
        name = find_manifest(self.files)
        if name is None:
            raise ValueError("source nifti: no manifest.csv (columns file, class) in the raw data; or give --labels")
        return read_rows(self.files.read(name), where=name), str(PurePosixPath(name).parent), name

    def _keys(self, path: str, place: str) -> list[str]:
        if re.fullmatch("[0-9]+", place):
            return [f"{path}#{int(place):04}"]
        try:
            array = self._array(path)
        except UnreadableImageError:
            return [path]  # reading it will say why
        return [path] if array.ndim == 2 else [f"{path}#{index:04}" for index in range(array.shape[2])]

    def _array(self, path: str) -> NDArray[np.generic]:
        if self.kept is None or self.kept[0] != path:
            self.kept = path, _load(self.files.read(path))
        return self.kept[1]


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
        return OpenNifti(open_files(raw), options=options)


def _load(data: bytes) -> NDArray[np.generic]:
    """(x, y) or (x, y, slices); an axis of length 1 at the end is dropped."""
    import nibabel  # only where it is needed: half a second of import

    if not data:
        raise UnreadableImageError("empty file (0 bytes)")
    try:
        content = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
        array = np.asarray(nibabel.Nifti1Image.from_bytes(content).dataobj)
    except Exception as error:  # decoders raise whatever they like on damaged files
        raise UnreadableImageError(f"damaged or unknown NIfTI ({error})") from error
    if array.dtype.fields:
        raise UnreadableImageError("a colour NIfTI: only greyscale is supported; save it as PNG or TIFF")
    while array.ndim > 2 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim not in (2, 3):
        raise UnreadableImageError(f"expected a picture or a volume, got shape {array.shape}")
    return array


SOURCE = Nifti()
