"""The files below a folder: regular ones only, whatever else lies there; links are followed where they stay within."""

import os
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from mdhfl.files import kind_of, open_regular
from mdhfl.preprocessing.raw.limits import MAX_DEPTH, Limits, too_large
from mdhfl.preprocessing.raw.names import EMPTY_FOLDER, HIDDEN, LINK, TOO_DEEP, is_ignored
from mdhfl.preprocessing.raw.reading import IMAGE_SUFFIXES
from mdhfl.preprocessing.raw.records import Skip, UnreadableImageError
from mdhfl.preprocessing.raw.sizes import check_number
from mdhfl.preprocessing.raw.streams import read_whole

END = 256  # bytes


@dataclass(frozen=True)
class _Place:
    """A folder to be listed.

    Attributes:
        name: relative, with "/" at its end; "" at the top.
        real: where it lies, free of links.
        above: the folder that it was found in.
        linked: whether a link led here.
    """

    name: str
    real: str
    above: "_Place | None" = None
    linked: bool = False

    def lies_in(self, real: str) -> bool:
        """Whether that folder is this one, or one of those that it was reached through."""
        place: _Place | None = self
        while place is not None:
            if place.real == real:
                return True
            place = place.above
        return False


class FolderFiles:
    """The files below a folder. Pipes and devices are not opened.

    A link to a file or folder below the same top is followed, a folder by one link only and never in a circle.

    Raises:
        ValueError: more files or folders than the limit.
    """

    notes: tuple[str, ...] = ()

    def __init__(self, folder: Path, *, limits: Limits) -> None:
        self.folder, self.limits = folder, limits
        self.names: list[str] = []
        self.skipped: list[Skip] = []
        self.links: dict[str, str] = {}  # names that a link led to: where the file lies
        self._followed: set[str] = set()
        self._top = os.path.realpath(folder)
        waiting = [_Place("", self._top)]
        while waiting:
            waiting.extend(self._list(waiting.pop()))
        self.names.sort()
        self.skipped.sort()

    def open(self, name: str) -> BinaryIO:
        """A stream of one file's bytes."""
        try:
            return open_regular(self.path(name))
        except OSError as error:
            raise UnreadableImageError(f"cannot be read: {error.strerror or error}") from error

    def path(self, name: str) -> Path:
        """Where a file lies."""
        return Path(self.links[name]) if name in self.links else self.folder / name

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

    def _list(self, place: _Place) -> list[_Place]:
        """Take in what lies in one folder; returns the folders in it."""
        if place.name.count("/") > MAX_DEPTH:
            self._skip(place.name, TOO_DEEP)
            return []
        try:
            with os.scandir(place.real) as entries:
                found = sorted(islice(entries, self.limits.max_files + 1), key=lambda entry: entry.name)
        except OSError as error:
            self._skip(place.name or "./", f"a folder that cannot be listed: {error.strerror or error}")
            return []
        if not found:
            self._skip(place.name or "./", EMPTY_FOLDER, lost=False)
        folders = []
        for entry in found:
            if not is_ignored(entry.name):
                folders += self._take(entry, place)
        number = len(self.names) + len(self.skipped) + len(self._followed)
        check_number(number, unit="files", where=self.folder, limits=self.limits)
        return folders

    def _take(self, entry: os.DirEntry[str], place: _Place) -> list[_Place]:
        """Take in one entry; returns it where it is a folder."""
        name = place.name + entry.name
        kind = _kind(entry)
        if entry.name.startswith("."):
            self._skip(name + "/" * (kind == "a folder"), HIDDEN, lost=_looks_like_picture(name))
        elif kind == "a folder":
            return [_Place(f"{name}/", entry.path, above=place, linked=place.linked)]
        elif kind == "a symbolic link":
            return self._follow(name, entry, place)
        elif kind is not None:
            self._skip(name, kind)
        else:
            self.names.append(name)
            if place.linked:
                self.links[name] = entry.path
        return []

    def _follow(self, name: str, entry: os.DirEntry[str], place: _Place) -> list[_Place]:
        real = os.path.realpath(entry.path)
        try:
            inside = os.path.commonpath([real, self._top]) == self._top
            kind = kind_of(os.lstat(real).st_mode) if inside else "outside"
        except (OSError, ValueError):
            kind = "nothing"
        if kind is None:
            self.names.append(name)
            self.links[name] = real
        elif kind == "a folder" and not place.lies_in(real) and real not in self._followed:
            self._followed.add(real)
            return [_Place(f"{name}/", real, above=place, linked=True)]
        else:
            self._skip(name, LINK, lost=not place.lies_in(real))  # what a circle leads to is listed anyway
        return []

    def _skip(self, name: str, reason: str, *, lost: bool = True) -> None:
        self.skipped.append(Skip(name, reason, lost=lost))


def _looks_like_picture(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES


def _kind(entry: os.DirEntry[str]) -> str | None:
    """What an entry is, in words, if it is no regular file."""
    try:
        if entry.is_file(follow_symlinks=False):
            return None
        kind = kind_of(entry.stat(follow_symlinks=False).st_mode)
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
    return kind if kind in ("a folder", "a symbolic link") else f"{kind}: not opened"
