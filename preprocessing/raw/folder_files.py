"""The files below a folder: regular ones only, whatever else lies there."""

import os
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from mdhfl.files import kind_of, open_regular
from mdhfl.preprocessing.raw.limits import MAX_DEPTH, Limits, too_large
from mdhfl.preprocessing.raw.names import EMPTY_FOLDER, TOO_DEEP, is_ignored
from mdhfl.preprocessing.raw.records import Skip, UnreadableImageError
from mdhfl.preprocessing.raw.sizes import check_number
from mdhfl.preprocessing.raw.streams import read_whole

END = 256  # bytes


class FolderFiles:
    """The files below a folder; links are not followed, pipes and devices not opened.

    Raises:
        ValueError: more files than the limit.
    """

    def __init__(self, folder: Path, *, limits: Limits) -> None:
        self.folder, self.limits = folder, limits
        self.names: list[str] = []
        self.skipped: list[Skip] = []
        waiting = [""]
        while waiting:
            waiting.extend(self._list(waiting.pop()))
        self.names.sort()
        self.skipped.sort()

    def open(self, name: str) -> BinaryIO:
        """A stream of one file's bytes."""
        try:
            return open_regular(self.folder / name)
        except OSError as error:
            raise UnreadableImageError(f"cannot be read: {error.strerror or error}") from error

    def read(self, name: str) -> bytes:
        """The bytes of one file."""
        with self.open(name) as file:
            size = os.fstat(file.fileno()).st_size
            if size > self.limits.file:
                raise UnreadableImageError(too_large(size, limit=self.limits.file, unit="bytes", option="--max-pixels"))
            try:
                return read_whole(file, limit=self.limits.file)
            except OSError as error:
                raise UnreadableImageError(f"cannot be read: {error.strerror or error}") from error

    def glance(self, name: str) -> tuple[int, bytes]:
        """Size and ends of a file: what files with the same bytes have in common."""
        try:
            with self.open(name) as file:
                size = os.fstat(file.fileno()).st_size
                start = file.read(END)
                file.seek(max(0, size - END))
                return size, start + file.read(END)
        except (UnreadableImageError, OSError):
            return -1, name.encode(errors="backslashreplace")

    def close(self) -> None:
        """Nothing to release."""

    def _list(self, place: str) -> list[str]:
        """Take in what lies in one folder; returns the folders in it, each with "/" at its end."""
        if place.count("/") > MAX_DEPTH:
            self.skipped.append(Skip(place, TOO_DEEP))
            return []
        try:
            with os.scandir(self.folder / place) as entries:
                found = list(islice(entries, self.limits.max_files + 1))
        except OSError as error:
            self.skipped.append(Skip(place or "./", f"a folder that cannot be listed: {error.strerror or error}"))
            return []
        if not found:
            self.skipped.append(Skip(place or "./", EMPTY_FOLDER))
        folders = []
        for entry in found:
            name = place + entry.name
            kind = _kind(entry)
            if kind == "a folder":
                folders.append(f"{name}/")
            elif kind is not None:
                self.skipped.append(Skip(name, kind))
            elif not is_ignored(name):
                self.names.append(name)
        number = len(self.names) + len(self.skipped)
        check_number(number, unit="files", where=self.folder, limits=self.limits)
        return folders


def _kind(entry: os.DirEntry[str]) -> str | None:
    """What an entry is, in words, if it is no regular file."""
    try:
        if entry.is_file(follow_symlinks=False):
            return None
        kind = kind_of(entry.stat(follow_symlinks=False).st_mode)
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
    if kind == "a folder":
        return kind
    return f"{kind}: not followed" if kind == "a symbolic link" else f"{kind}: not opened"
