"""Manifests: a CSV with the columns file and class, optionally group and split."""

import csv
import io
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from mdhfl.files import open_regular
from mdhfl.preprocessing.raw.archive import RawFiles
from mdhfl.preprocessing.raw.limits import DEFAULTS, MAX_ROW, MAX_TABLE, Limits, too_large
from mdhfl.preprocessing.raw.records import Record, Skip
from mdhfl.preprocessing.raw.sizes import check_number
from mdhfl.preprocessing.raw.streams import read_whole
from mdhfl.preprocessing.raw.zip_files import DAMAGES

MANIFEST_NAME = "manifest.csv"
ALIASES = {
    "file": ("file", "filename", "file_name", "image", "image_path", "path"),
    "class": ("class", "label", "class_name", "category"),
    "group": ("group", "patient", "patient_id", "slide", "case"),
    "part": ("split", "part", "fold"),
}
PART_NAMES = {
    "train": "training",
    "training": "training",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}


def find_manifest(files: RawFiles) -> str | None:
    """The name of the manifest nearest to the top, if there is one."""
    found = [name for name in files.names if PurePosixPath(name).name.lower() == MANIFEST_NAME]
    return min(found, key=lambda name: (name.count("/"), name), default=None)


def read_rows(data: bytes, *, where: str, limits: Limits = DEFAULTS) -> list[dict[str, str]]:
    """The rows of a manifest, with the columns named file, class, group, part ("" where there is none).

    Raises:
        ValueError: not a CSV in UTF-8, a needed column is missing, or it is too large.
    """
    if len(data) > MAX_TABLE:
        raise ValueError(f"manifest {where}: {too_large(len(data), limit=MAX_TABLE, unit='bytes')}")
    text = io.TextIOWrapper(io.BytesIO(data), encoding="utf-8-sig", newline="")
    try:
        header = text.readline(MAX_ROW)
        text.seek(0)
        return _rows_of(_Lines(text, where=where), delimiter=max(",;\t", key=header.count), limits=limits)
    except UnicodeDecodeError as error:
        raise ValueError(f"manifest {where}: expected CSV in UTF-8 ({error})") from error
    except csv.Error as error:
        raise ValueError(f"manifest {where}: expected CSV ({error})") from error


def manifest_records(
    rows: list[Mapping[str, str]] | list[dict[str, str]], *, files: RawFiles, base: str, where: str
) -> tuple[list[Record], list[Skip]]:
    """Records of the rows whose files exist; a row without a file, without a class or named twice is skipped.

    Args:
        base: folder that the manifest's file names are relative to.

    Raises:
        ValueError: a split that is not training, validation or test.
    """
    known, records, skips = set(files.names), {}, []
    for row in rows:
        key = str(PurePosixPath(base) / row["file"].replace("\\", "/"))
        if key not in known:
            skips.append(Skip(key, f"listed in {where}, but there is no such file"))
        elif not row["class"]:
            skips.append(Skip(key, f"has no class in {where}"))
        elif key in records:
            skips.append(Skip(key, f"listed twice in {where}; the first line counts"))
        else:
            part = part_name(row["part"], where=where)
            records[key] = Record(key=key, code=row["class"], group=row["group"] or None, part=part)
    return list(records.values()), skips


def part_name(text: str, *, where: str) -> str | None:
    """ "training", "validation", "test", or None where the text is empty.

    Raises:
        ValueError: another text.
    """
    if text and text.lower() not in PART_NAMES:
        raise ValueError(f"{where}: split {text!r}: expected train, validation or test, or nothing")
    return PART_NAMES[text.lower()] if text else None


def labels_file(path: Path) -> bytes:
    """The bytes of a CSV given with --labels, at most one more than a table may have.

    Raises:
        ValueError: there is no such file, or it cannot be read.
    """
    try:
        with open_regular(path) as file:
            return read_whole(file, limit=MAX_TABLE + 1)
    except OSError as error:
        reason = error.strerror or error
        raise ValueError(
            f"labels {path}: {reason}; --labels names a CSV (file, class, optional group, split)"
        ) from error


def table_in(files: RawFiles, name: str) -> bytes:
    """The bytes of a manifest among the raw data, at most one more than a table may have.

    Raises:
        ValueError: it cannot be read.
    """
    try:
        with files.open(name) as stream:
            return read_whole(stream, limit=MAX_TABLE + 1)
    except DAMAGES as error:
        raise ValueError(f"manifest {name}: cannot be read ({error})") from error


def _rows_of(lines: "_Lines", *, delimiter: str, limits: Limits) -> list[dict[str, str]]:
    reader, where = csv.reader(lines, delimiter=delimiter), lines.where
    names = {name.strip().lower(): place for place, name in enumerate(next(reader, []))}
    columns = {
        wanted: next((names[alias] for alias in aliases if alias in names), None) for wanted, aliases in ALIASES.items()
    }
    if columns["file"] is None or columns["class"] is None:
        raise ValueError(
            f"manifest {where}: expected a header with at least the columns file and class (optional: group, split), "
            f"got {', '.join(names)[:200] or 'nothing'}"
        )
    rows: list[dict[str, str]] = []
    for cells in reader:
        lines.row = 0
        if cells:
            rows.append(
                {
                    key: cells[place].strip() if place is not None and place < len(cells) else ""
                    for key, place in columns.items()
                }
            )
            check_number(len(rows), unit="rows", where=where, limits=limits)
    return rows


class _Lines:
    """The lines of a table, for `csv`; a row without an end is refused.

    Attributes:
        row: characters of the row being read.
    """

    def __init__(self, text: io.TextIOWrapper, *, where: str) -> None:
        self.text, self.where, self.row = text, where, 0

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line = self.text.readline(MAX_ROW + 1)
        if not line:
            raise StopIteration
        self.row += len(line)
        if self.row > MAX_ROW:
            raise ValueError(f"manifest {self.where}: {too_large(self.row, limit=MAX_ROW, unit='characters in a row')}")
        return line
