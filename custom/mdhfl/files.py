"""The files of this package and of its users: found, read and checked, written whole or not at all."""

import json
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

PACKAGE = Path(__file__).resolve().parent


class StateError(OSError):
    """State could not be written or read; what was there before is still there."""


def shipped_folder(name: str) -> Path:
    """Return the absolute path of a data folder that ships with mdhfl: beside it in a checkout, inside it in a wheel.

    Args:
        name: "bundles" or "meta".

    Raises:
        FileNotFoundError: this installation lacks the folder.
    """
    for candidate in (PACKAGE / name, PACKAGE.parents[1] / name):
        if candidate.is_dir():
            return candidate
    raise FileNotFoundError(f"no folder {name!r} beside or above {PACKAGE}: reinstall mdhfl")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        OSError: the file is missing or cannot be read.
        ValueError: it is not JSON, or not an object.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not valid JSON ({error})") from error
    if not isinstance(values, dict):
        raise ValueError(f"{path}: expected a JSON object, got {type(values).__name__}")
    return values


def read_checked(path: Path, *, schema: str, missing: str) -> dict[str, Any]:
    """Read a JSON file that people write or carry about, and check it.

    Args:
        path: the file.
        schema: name of `meta/schemas/<schema>.schema.json`.
        missing: what to say if there is no such file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not JSON, or does not follow the schema.
    """
    if not path.is_file():
        raise FileNotFoundError(missing)
    values = read_json(path)
    check_against_schema(values, schema=schema, what=str(path))
    return values


def check_against_schema(values: Mapping[str, Any], *, schema: str, what: str) -> None:
    """Check values against `meta/schemas/<schema>.schema.json`.

    Raises:
        ValueError: naming `what`, the place inside it, what was expected and what came.
    """
    import jsonschema

    path = shipped_folder("meta") / "schemas" / f"{schema}.schema.json"
    error = jsonschema.exceptions.best_match(jsonschema.Draft202012Validator(read_json(path)).iter_errors(values))
    if error is not None:
        place = "/".join(str(part) for part in error.absolute_path) or "top level"
        raise ValueError(f"{what}: {place}: {error.message[:200]} (see {path.name})")


def write_json(path: Path, values: Any, *, indent: int = 2) -> None:
    """Write values as JSON, whole or not at all. Raises StateError."""
    text = json.dumps(values, indent=indent, allow_nan=False) + "\n"
    write_atomically(path, lambda file: file.write(text.encode()))


def write_atomically(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write a file beside its place and rename it, so that readers see the old or the new one, never a part.

    Raises:
        StateError: the disk is full or the folder is not writable; the old file stays.
    """
    beside = path.with_name(f"{path.name}.{os.getpid()}.tmp")  # another process may write the same file
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with beside.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except (OSError, RuntimeError) as error:  # torch.save reports a full disk as RuntimeError
        beside.unlink(missing_ok=True)
        raise StateError(
            f"{path}: cannot be written ({error}); what was there before is kept. Free disk space or fix the "
            "folder's permissions, then resume"
        ) from error


def plain_name(name: str, *, what: str) -> str:
    """Return a name that may become a folder's: whoever sends it must not choose a place.

    Raises:
        ValueError: it has something else than letters, digits, dots, hyphens and underscores, or is too long.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
        raise ValueError(
            f"{what} {name[:100]!r}: expected letters, digits, dots, hyphens and underscores, beginning with a "
            "letter or digit"
        )
    return name
