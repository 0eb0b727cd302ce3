"""A file with its own checksum, and beside it, as `<name>.previous`, what was there before.

The seal is a trailer of fixed length; what reads zip archives from their end (torch.load, numpy.load) does not mind it.
JSON carries its seal as a field, and so stays JSON.
"""

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from typing import IO, Any, TypeVar

from mdhfl.digests import values_digest
from mdhfl.files import StateError, check_format, write_atomically

Value = TypeVar("Value")

MAGIC = b"\nmdhfl seal 1 "
LENGTH = len(MAGIC) + 64 + 1  # with the digest in hexadecimal digits and a line feed
SEAL = "seal"  # the field of JSON values
FORMAT = 1  # of the records in a run's and a server's folder; version 0.1.0's had no seal
OLD = "damaged, or of version 0.1.0, whose state and runs no later version reads: start anew in another folder"


class Damaged(StateError):
    """A file that is not what was written, or is missing; the message says which and how it shows."""


def previous(path: Path) -> Path:
    """Return where the generation before a file's current one lies."""
    return path.with_name(f"{path.name}.previous")


def write_sealed(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write a file with its seal; what was there becomes the previous generation.

    Args:
        path: the file.
        write: writes the content.

    Raises:
        StateError: the disk does not take it; what was there is kept.
    """
    content = BytesIO()
    write(content)
    payload = content.getbuffer()
    seal = MAGIC + hashlib.sha256(payload).hexdigest().encode() + b"\n"

    def write_both(file: IO[bytes]) -> None:
        file.write(payload)
        file.write(seal)

    _write(path, write_both)


def write_sealed_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write a JSON object with its seal as a field; else as `write_sealed`."""
    text = json.dumps({**values, SEAL: values_digest(values)}, indent=2, allow_nan=False) + "\n"
    _write(path, lambda file: file.write(text.encode()))


def read_generation(path: Path, read: Callable[[Path, bytes], Value]) -> Value:
    """Return what `read` makes of the content of one generation of a file.

    Args:
        path: the file, or `previous(path)`.
        read: takes the path and the content without its seal; raises Damaged if it is not what it should be.

    Raises:
        Damaged: it is damaged or missing.
    """
    return read(path, _unsealed(path))


def read_sealed(path: Path, read: Callable[[Path, bytes], Value]) -> Value:
    """Return what `read` makes of a file's content; of the previous generation where the current one is damaged.

    Raises:
        Damaged: both generations are damaged or missing; the current one's fault is told.
    """
    return _either(path, lambda each: read_generation(each, read))


def read_sealed_json(path: Path) -> dict[str, Any]:
    """Return the values that `write_sealed_json` wrote, without the seal; else as `read_sealed`.

    Raises:
        OtherFormat: another version of mdhfl wrote them.
        Damaged: as `read_sealed`.
    """
    return _either(path, _unsealed_json)


def mend(path: Path, read: Callable[[Path, bytes], Value]) -> Value:
    """As `read_sealed`; and let a good previous generation take the damaged one's place. Only under a lock."""
    try:
        return read_generation(path, read)
    except Damaged as fault:
        try:
            found = read_generation(previous(path), read)
        except Damaged:
            raise fault from None
        go_back(path)
        return found


def go_back(path: Path) -> None:
    """Let the previous generation be the current one again. Raises StateError."""
    try:
        previous(path).replace(path)
    except OSError as error:
        raise StateError(f"{previous(path)}: cannot take the place of {path.name} ({error})") from error


def exists(path: Path) -> bool:
    """Return whether there is anything of a file: its current or its previous generation."""
    return path.exists() or previous(path).exists()


def clean(*folders: Path) -> None:
    """Delete what interrupted writes of ours left in some folders. Only for whoever holds their lock."""
    for folder in folders:
        for path in folder.glob("*.tmp") if folder.is_dir() else ():
            if re.fullmatch(r".+\.\d+\.tmp", path.name):
                path.unlink(missing_ok=True)


def _either(path: Path, read: Callable[[Path], Value]) -> Value:
    try:
        return read(path)
    except Damaged as fault:
        try:
            return read(previous(path))
        except Damaged:
            raise fault from None


def _write(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    def keep_previous() -> None:
        if path.exists():
            path.replace(previous(path))

    write_atomically(path, write, before_rename=keep_previous)


def _unsealed(path: Path) -> bytes:
    data = _bytes_of(path)
    payload, trailer = data[:-LENGTH], data[-LENGTH:]
    if not trailer.startswith(MAGIC):
        raise Damaged(f"{path}: {OLD} ({len(data)} bytes without a seal)")
    if trailer != MAGIC + hashlib.sha256(payload).hexdigest().encode() + b"\n":
        raise Damaged(f"{path}: damaged (its checksum does not fit)")
    return payload


def _unsealed_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(_bytes_of(path))
    except (ValueError, RecursionError) as error:
        raise Damaged(f"{path}: damaged (not valid JSON: {error})") from error
    if not isinstance(values, dict) or SEAL not in values:
        raise Damaged(f"{path}: {OLD} (a JSON object without a seal)")
    seal = values.pop(SEAL)
    if seal != values_digest(values):
        raise Damaged(f"{path}: damaged or edited (its checksum does not fit)")
    if "version" in values:
        check_format(values, reads=FORMAT, what=str(path), way_out="start anew in another folder")
    return values


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise Damaged(f"{path}: missing") from error
    except OSError as error:
        raise Damaged(f"{path}: cannot be read ({error})") from error
