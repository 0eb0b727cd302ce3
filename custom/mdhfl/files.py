"""The files of this package and of its users: found, read and checked, written whole or not at all."""

import errno
import io
import json
import os
import re
import stat
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

PACKAGE = Path(__file__).resolve().parent


SPECIAL = {
    stat.S_IFDIR: "a folder",
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}  # whatever else is no regular file


FEDERATION_FORMAT = 1  # of all files in a federation folder
WRITERS = ("written_with", "prepared_with", "versions")  # fields that may say which version of mdhfl wrote a file
PREPARED_PIXELS = 4096**2  # of one image in a federation folder: `mdhfl prepare` makes no larger ones
PREPARED_BYTES = 4 * PREPARED_PIXELS + (1 << 20)
PNG_START = struct.Struct(">8s4s4sII")  # signature, length and name of the first chunk, width, height
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


class StateError(OSError):
    """State could not be written or read; what was there before is still there."""


class OtherFormat(ValueError):
    """Something that another version of mdhfl wrote, in a format that this one does not read."""


def check_format(values: Mapping[str, Any], *, reads: int, what: str, way_out: str) -> None:
    """Refuse what is written in another format; a missing number is another one, too.

    Args:
        values: with their format's number as "version", and perhaps with who wrote them.
        reads: the number that this version of mdhfl reads.
        what: it is, for the message.
        way_out: beside another version of mdhfl.

    Raises:
        OtherFormat: in one line.
    """
    got = values.get("version")
    if type(got) is int and got == reads:
        return
    number = f"format {got}" if type(got) is int else "no format number"
    raise OtherFormat(
        f"{what}: expected format {reads}, got {number}{_writer_of(values)}: another version of mdhfl wrote it. Use "
        f"that version, or {way_out}"
    )


def _writer_of(values: Mapping[str, Any]) -> str:
    for name in WRITERS:
        said = values.get(name)
        version = said.get("mdhfl") if isinstance(said, Mapping) else said
        if isinstance(version, str):
            return f" of mdhfl {version[:20]!r}"
    return ""


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


def kind_of(mode: int) -> str | None:
    """Return what a file is, in words, by its mode; None: a regular file."""
    return None if stat.S_ISREG(mode) else SPECIAL.get(stat.S_IFMT(mode), "not a regular file")


def open_regular(path: Path) -> io.BufferedReader:
    """Open a regular file, or a link to one, for reading: a pipe would wait for ever, a device may never end.

    Raises:
        OSError: it is missing, cannot be opened, or is something else; its `strerror` says what.
    """
    _refuse_special(path, path.stat().st_mode)
    never_wait = getattr(os, "O_NONBLOCK", 0)
    file = open(path, "rb", opener=lambda name, flags: os.open(name, flags | never_wait))  # noqa: SIM115
    try:
        _refuse_special(path, os.fstat(file.fileno()).st_mode)  # it may have been exchanged meanwhile
    except OSError:
        file.close()
        raise
    return file


def check_prepared_image(path: Path) -> None:
    """Check that an image of a federation folder is a PNG of a possible size, before a decoder sees it.

    Raises:
        OSError: it is no regular file, or cannot be read.
        ValueError: it is no PNG, or too large.
    """
    with open_regular(path) as file:
        length, start = os.fstat(file.fileno()).st_size, file.read(PNG_START.size)
    if len(start) < PNG_START.size or not start.startswith(PNG_SIGNATURE):
        raise ValueError("not a PNG")
    _, _, _, width, height = PNG_START.unpack(start)
    for got, limit, unit in ((length, PREPARED_BYTES, "bytes"), (width * height, PREPARED_PIXELS, "pixels")):
        if got > limit:
            raise ValueError(f"too large: the limit is {limit:,} {unit}, got {got:,}")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        OSError: the file is missing or cannot be read.
        ValueError: it is not JSON, or not an object.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
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
        OtherFormat: another version of mdhfl wrote it.
        ValueError: it is not JSON, or does not follow the schema.
    """
    if not path.is_file():
        raise FileNotFoundError(missing)
    values = read_json(path)
    _check_version(values, schema=schema, path=path)
    check_against_schema(values, schema=schema, what=str(path))
    return values


def _check_version(values: Mapping[str, Any], *, schema: str, path: Path) -> None:
    """Refuse another format before the schema is asked, which would name a field of it. Raises OtherFormat."""
    rules = _rules(schema)
    fields = rules["properties"] if "properties" in rules else rules["oneOf"][0]["properties"]
    reads = fields["version"]["const"]
    if "version" in values:
        way_out = "write it anew with this one (`mdhfl prepare`, `mdhfl site-kit`)"
        check_format(values, reads=reads, what=str(path), way_out=way_out)


def check_against_schema(values: Mapping[str, Any], *, schema: str, what: str) -> None:
    """Check values against `meta/schemas/<schema>.schema.json`.

    Raises:
        ValueError: naming `what`, the place inside it, what was expected and what came.
    """
    import jsonschema

    error = jsonschema.exceptions.best_match(jsonschema.Draft202012Validator(_rules(schema)).iter_errors(values))
    if error is not None:
        place = "/".join(str(part) for part in error.absolute_path) or "top level"
        raise ValueError(f"{what}: {place}: {error.message[:200]} (see {schema}.schema.json)")


def _rules(schema: str) -> dict[str, Any]:
    return read_json(shipped_folder("meta") / "schemas" / f"{schema}.schema.json")


def write_json(path: Path, values: Any, *, indent: int = 2) -> None:
    """Write values as JSON, whole or not at all. Raises StateError."""
    text = json.dumps(values, indent=indent, allow_nan=False) + "\n"
    write_atomically(path, lambda file: file.write(text.encode()))


def _nothing() -> None:
    pass


def write_atomically(
    path: Path, write: Callable[[IO[bytes]], object], *, before_rename: Callable[[], object] = _nothing
) -> None:
    """Write a file beside its place and rename it, so that readers see the old or the new one, never a part.

    Args:
        path: the file.
        write: writes the content.
        before_rename: called when the new file is whole and the old one still in its place.

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
        before_rename()
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


def _refuse_special(path: Path, mode: int) -> None:
    kind = kind_of(mode)
    if kind is not None:
        raise OSError(errno.EINVAL, f"{kind}, not a regular file", str(path))
