"""Files of a raw dataset, the same way from a folder and from a zip, without unpacking anything."""

import hashlib
import os
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import Protocol

from mdhfl.preprocessing.raw.records import Skip, UnreadableImageError

IGNORED_NAMES = {"__MACOSX", "Thumbs.db", "desktop.ini"}  # what operating systems leave behind

EMPTY_FOLDER = "an empty folder"


class RawFiles(Protocol):
    """A folder or a zip, opened."""

    names: list[str]  # relative, with "/", sorted
    skipped: list[Skip]  # links, which are not followed

    def read(self, name: str) -> bytes:
        """The bytes of one file."""

    def close(self) -> None:
        """Release the archive."""


class FolderFiles:
    """The files below a folder; symbolic links are not followed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.names: list[str] = []
        self.skipped: list[Skip] = []
        for top, folders, files in os.walk(folder, followlinks=False):
            if not folders and not files:
                self.skipped.append(Skip(f"{Path(top).relative_to(folder).as_posix()}/", EMPTY_FOLDER))
            for name in files + folders:
                path = Path(top) / name
                relative = path.relative_to(folder).as_posix()
                if path.is_symlink():
                    self.skipped.append(Skip(relative, "a symbolic link: not followed"))
                elif name in files and not _is_ignored(relative):
                    self.names.append(relative)
        self.names.sort()
        self.skipped.sort()

    def read(self, name: str) -> bytes:
        """The bytes of one file."""
        try:
            return (self.folder / name).read_bytes()
        except OSError as error:
            raise UnreadableImageError(f"cannot be read: {error.strerror or error}") from error

    def close(self) -> None:
        """Nothing to release."""


class ZipFiles:
    """The members of a zip; a member that points outside the zip refuses the whole archive.

    Raises:
        ValueError: not a zip, or a member's path is absolute or holds "..".
    """

    def __init__(self, path: Path) -> None:
        try:
            self.archive = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError) as error:
            raise ValueError(f"raw data {path}: not a readable zip ({error}); is the download complete?") from error
        self.names: list[str] = []
        self.skipped: list[Skip] = []
        folders = []
        for member in self.archive.infolist():
            _refuse_outside(path, member.filename)
            if stat.S_ISLNK(member.external_attr >> 16):
                self.skipped.append(Skip(member.filename, "a symbolic link: not followed"))
            elif member.is_dir():
                folders.append(member.filename)
            elif not _is_ignored(member.filename):
                self.names.append(member.filename)
        self.names.sort()
        everything = self.archive.namelist()
        empty = [name for name in folders if not any(other.startswith(name) and other != name for other in everything)]
        self.skipped.extend(Skip(name, EMPTY_FOLDER) for name in empty if not _is_ignored(name))
        self.skipped.sort()

    def read(self, name: str) -> bytes:
        """The bytes of one member."""
        try:
            return self.archive.read(name)
        except (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, OSError, EOFError) as error:
            raise UnreadableImageError(f"cannot be unpacked: {error}") from error

    def close(self) -> None:
        """Close the zip."""
        self.archive.close()


def open_files(raw: Path) -> RawFiles:
    """Open a folder or a zip.

    Raises:
        ValueError: there is no such path, or it is neither a folder nor a zip.
    """
    if raw.is_dir():
        return FolderFiles(raw)
    if not raw.exists():
        raise ValueError(f"raw data {raw}: no such file or folder; give the dataset's download with --raw")
    return ZipFiles(raw)


def fingerprint(raw: Path | None) -> str:
    """A digest that changes when the raw data does, without reading all of it.

    A zip: its size and its members' names, sizes and checksums. A folder: its files' names, sizes and times of change.
    Any other file: its bytes.
    """
    if raw is None:
        return "generated"
    hasher = hashlib.sha256()
    if raw.is_dir():
        for name in FolderFiles(raw).names:
            status = (raw / name).lstat()
            hasher.update(f"{name}\n{status.st_size}\n{status.st_mtime_ns}\n".encode(errors="backslashreplace"))
    elif zipfile.is_zipfile(raw):
        hasher.update(f"{raw.stat().st_size}\n".encode())
        with zipfile.ZipFile(raw) as archive:
            for member in archive.infolist():
                hasher.update(
                    f"{member.filename}\n{member.file_size}\n{member.CRC}\n".encode(errors="backslashreplace")
                )
    elif raw.is_file():
        with raw.open("rb") as file:
            while block := file.read(1 << 20):
                hasher.update(block)
    else:
        raise ValueError(f"raw data {raw}: no such file or folder; give the dataset's download with --raw")
    return hasher.hexdigest()[:32]


def _is_ignored(name: str) -> bool:
    return any(part in IGNORED_NAMES or part.startswith(".") for part in PurePosixPath(name).parts)


def _refuse_outside(path: Path, name: str) -> None:
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if name.startswith(("/", "\\")) or ".." in parts or (parts and parts[0].endswith(":")):
        raise ValueError(
            f"raw data {path}: member {name!r} points outside the zip, so the whole archive is refused; "
            "repack it with relative paths, or check its origin"
        )
