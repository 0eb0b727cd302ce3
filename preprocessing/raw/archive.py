"""Files of a raw dataset, the same way from a folder and from a zip, without unpacking anything to disk."""

import hashlib
import zipfile
from collections.abc import Hashable
from pathlib import Path
from typing import BinaryIO, Protocol

from mdhfl.files import kind_of, open_regular
from mdhfl.preprocessing.raw.folder_files import FolderFiles
from mdhfl.preprocessing.raw.limits import DEFAULTS, Limits
from mdhfl.preprocessing.raw.records import Skip
from mdhfl.preprocessing.raw.zip_files import ZipFiles, open_zip


class RawFiles(Protocol):
    """A folder or a zip, opened."""

    names: list[str]  # relative, with "/", sorted
    skipped: list[Skip]  # pipes, devices, links that lead elsewhere: never opened
    notes: tuple[str, ...]  # on how they were read, in sentences

    def open(self, name: str) -> BinaryIO:
        """A stream of one file's bytes, unpacked as it is read.

        Raises:
            UnreadableImageError: it cannot be opened.
        """

    def read(self, name: str) -> bytes:
        """The bytes of one file.

        Raises:
            UnreadableImageError: it cannot be read, or is larger than `Limits.file`.
        """

    def glance(self, name: str) -> Hashable:
        """What files with the same bytes have in common, without reading them whole."""

    def close(self) -> None:
        """Release the archive."""


def open_files(raw: Path, *, limits: Limits = DEFAULTS) -> RawFiles:
    """Open a folder or a zip.

    Raises:
        ValueError: there is no such path, it is neither a folder nor a zip, or it is too large.
    """
    if raw.is_dir():
        return FolderFiles(raw, limits=limits)
    refuse_special(raw)
    return ZipFiles(raw, limits=limits)


def refuse_special(raw: Path) -> None:
    """Raise ValueError where raw data is missing, or a pipe, a socket or a device."""
    if not raw.exists():
        raise ValueError(f"raw data {raw}: no such file or folder; give the dataset's download with --raw")
    kind = kind_of(raw.stat().st_mode)
    if kind is not None:
        raise ValueError(f"raw data {raw}: expected a file or a folder, got {kind}, which is never opened")


def fingerprint(raw: Path | None, *, limits: Limits = DEFAULTS) -> str:
    """A digest that changes when the raw data does, without reading all of it.

    A zip: its size and its members' names, sizes and checksums. A folder: its files' names, sizes and times of change.
    Any other file: its bytes.

    Raises:
        ValueError: there is no such path, or it is too large.
    """
    if raw is None:
        return "generated"
    hasher = hashlib.sha256()
    if raw.is_dir():
        files = FolderFiles(raw, limits=limits)
        for name in files.names:
            status = files.path(name).lstat()
            hasher.update(f"{name}\n{status.st_size}\n{status.st_mtime_ns}\n".encode(errors="backslashreplace"))
        return hasher.hexdigest()[:32]
    refuse_special(raw)
    if zipfile.is_zipfile(raw):
        hasher.update(f"{raw.stat().st_size}\n".encode())
        with open_zip(raw, limits=limits) as archive:
            for member in archive.infolist():
                hasher.update(
                    f"{member.filename}\n{member.file_size}\n{member.CRC}\n".encode(errors="backslashreplace")
                )
    else:
        with open_regular(raw) as file:
            while block := file.read(1 << 20):
                hasher.update(block)
    return hasher.hexdigest()[:32]
