"""Manifests: a CSV with the columns file and class, optionally group and split."""

import csv
import io
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from mdhfl.preprocessing.raw.archive import RawFiles
from mdhfl.preprocessing.raw.records import Record, Skip

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


def read_rows(data: bytes, *, where: str) -> list[dict[str, str]]:
    """The rows of a manifest, with the columns named file, class, group, part ("" where there is none).

    Raises:
        ValueError: not a CSV in UTF-8, or a needed column is missing.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"manifest {where}: expected CSV in UTF-8 ({error})") from error
    reader = csv.DictReader(io.StringIO(text), delimiter=_delimiter(text))
    names = {(name or "").strip().lower(): name for name in reader.fieldnames or []}
    columns = {
        wanted: next((names[alias] for alias in aliases if alias in names), None) for wanted, aliases in ALIASES.items()
    }
    if columns["file"] is None or columns["class"] is None:
        raise ValueError(
            f"manifest {where}: expected a header with at least the columns file and class (optional: group, split), "
            f"got {', '.join(names) or 'nothing'}"
        )
    return [{key: (row.get(name) or "").strip() if name else "" for key, name in columns.items()} for row in reader]


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
    """The bytes of a CSV given with --labels.

    Raises:
        ValueError: there is no such file.
    """
    if not path.is_file():
        raise ValueError(f"labels {path}: no such file; --labels names a CSV (file, class, optional group, split)")
    return path.read_bytes()


def _delimiter(text: str) -> str:
    header = text.partition("\n")[0]
    return max(",;\t", key=header.count)
