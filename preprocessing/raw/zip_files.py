"""The members of a zip: what its list claims is checked before anything is unpacked, and never exceeded."""

import stat
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

from mdhfl.files import kind_of, open_regular
from mdhfl.preprocessing.raw.limits import MAX_DEPTH, MAX_NAMES, Limits, too_large
from mdhfl.preprocessing.raw.names import EMPTY_FOLDER, HIDDEN, LINK, TOO_DEEP, folders_above, hidden_part, is_ignored
from mdhfl.preprocessing.raw.reading import IMAGE_SUFFIXES
from mdhfl.preprocessing.raw.records import Skip, UnreadableImageError
from mdhfl.preprocessing.raw.streams import read_whole
from mdhfl.preprocessing.raw.zip_names import encoding_of, is_marked, raw_name, unicode_path
from mdhfl.showing.texts import one_line

MEMBER = b"PK\x01\x02"  # begins each entry of a zip's list
UNPACKABLE = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # of the others, Python unpacks a block without any bound
OTHERS = {9: "deflate64", zipfile.ZIP_BZIP2: "bzip2", zipfile.ZIP_LZMA: "lzma"}
DAMAGES = (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, OSError, EOFError, ValueError)


class ZipFiles:
    """The members of a zip; a member that points outside the zip refuses the whole archive.

    Raises:
        ValueError: not a zip, a member's path is absolute or holds "..", or the archive is too large.
    """

    def __init__(self, path: Path, *, limits: Limits) -> None:
        self.limits = limits
        self.archive = open_zip(path, limits=limits)
        self.members: dict[str, zipfile.ZipInfo] = {}
        self.notes: tuple[str, ...] = ()
        self._skips: dict[str, Skip] = {}
        try:
            named = self._named(path)
        except ValueError:
            self.close()
            raise
        for name, member in named:
            self._take(name, member)
        full = folders_above("/".join(name.split("/", MAX_DEPTH)[:-1]) if _is_deep(name) else name for name, _ in named)
        for name, _ in named:
            if name.endswith("/") and name not in full and not is_ignored(name) and hidden_part(name) is None:
                self._skip(name, EMPTY_FOLDER, lost=False)
        self.names = sorted(self.members)
        self.skipped = sorted(self._skips.values())

    def open(self, name: str) -> BinaryIO:
        """A stream of one member's bytes: at most as many as the zip's list claims."""
        return open_member(self.archive, self.members[name])

    def read(self, name: str) -> bytes:
        """The bytes of one member."""
        claimed = self.members[name].file_size
        if claimed > self.limits.file:
            raise UnreadableImageError(too_large(claimed, limit=self.limits.file, unit="bytes", option="--max-pixels"))
        with self.open(name) as stream:
            try:
                return read_whole(stream, limit=claimed + 1)  # one more: its checksum is compared at the end
            except DAMAGES as error:
                raise UnreadableImageError(f"cannot be unpacked: {error}") from error

    def glance(self, name: str) -> tuple[int, int]:
        """Size and checksum of a member: what members with the same bytes have in common."""
        member = self.members[name]
        return member.file_size, member.CRC

    def close(self) -> None:
        """Close the zip."""
        self.archive.close()

    def _named(self, path: Path) -> list[tuple[str, zipfile.ZipInfo]]:
        """The members with their names: free of "." and back-slashes, and in characters that people can read."""
        names, unmarked = [], []
        for member in self.archive.infolist():
            name = member.filename if is_marked(member) else unicode_path(member)
            names.append((name, member))
            if name is None:
                unmarked.append(raw_name(member))
        encoding = encoding_of(unmarked) if unmarked else "ascii"
        if encoding is None:
            raise ValueError(
                f"raw data {path}: the zip does not say how its names are written, and they can be read in no way that "
                f"gives letters, for example {unmarked[0]!r}; unpack it with a program that asks for the encoding "
                "(unzip -O, 7-Zip, unar) and give the folder, or pack it again with names in UTF-8"
            )
        if unmarked:
            example = one_line(unmarked[0].decode(encoding))
            self.notes = (
                f"the zip does not say how {len(unmarked)} of its names are written: read as {encoding}, for example "
                f"{example!r}",
            )
        found = []
        for given, member in names:
            name = raw_name(member).decode(encoding) if given is None else given
            _refuse_outside(path, name)
            plain = name.replace("\\", "/")
            parts = [part for part in plain.split("/") if part not in ("", ".")]
            found.append(("/".join(parts) + "/" * plain.endswith("/"), member))
        return found

    def _take(self, name: str, member: zipfile.ZipInfo) -> None:
        if is_ignored(name):
            return
        if _is_deep(name):
            self._skip(name, TOO_DEEP)
        elif (hidden := hidden_part(name)) is not None:
            looks_like_picture = PurePosixPath(hidden).suffix.lower() in IMAGE_SUFFIXES and not hidden.endswith("/")
            self._skip(hidden, HIDDEN, lost=looks_like_picture)
        elif (kind := _kind(member)) is not None:
            self._skip(name, kind)
        elif not name.endswith("/"):
            if name in self.members:
                self._skip(name, "twice in the zip: the last one counts")
            self.members[name] = member

    def _skip(self, name: str, reason: str, *, lost: bool = True) -> None:
        self._skips[name] = Skip(name, reason, lost=lost)


def open_zip(path: Path, *, limits: Limits, kind: str = "zip") -> zipfile.ZipFile:
    """Open a zip whose list of members, and what it claims of them, is within the limits.

    Args:
        path: of the file.
        limits: for the number of members and what they take unpacked.
        kind: what people call the file.

    Raises:
        ValueError: not a zip, or too large.
    """
    return _checked(lambda: _Zip(open_regular(path), where=path, limits=limits), where=path, limits=limits, kind=kind)


def zip_within(
    outer: zipfile.ZipFile, member: zipfile.ZipInfo, *, where: str, limits: Limits, kind: str
) -> zipfile.ZipFile:
    """As `open_zip`, of a zip that is a member of another one, which it closes with itself."""

    def opened() -> "_Zip":
        return _Zip(open_member(outer, member), where=where, limits=limits, outer=outer)

    return _checked(opened, where=where, limits=limits, kind=kind)


def _checked(opened: Callable[[], "_Zip"], *, where: object, limits: Limits, kind: str) -> zipfile.ZipFile:
    try:
        archive = opened()
    except _TooManyMembersError:
        raise
    except DAMAGES as error:
        raise ValueError(f"raw data {where}: not a readable {kind} ({error}); is the download complete?") from error
    claimed = sum(member.file_size for member in archive.infolist())
    if claimed > limits.unpacked:
        archive.close()
        text = too_large(claimed, limit=limits.unpacked, unit="bytes unpacked", option="--max-unpacked (GiB)")
        raise ValueError(f"raw data {where}: {text}")
    return archive


def open_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> BinaryIO:
    """A stream of one member's bytes: at most as many as the zip's list claims.

    Raises:
        UnreadableImageError: it cannot be opened.
    """
    try:
        kind = member.compress_type
        if kind not in UNPACKABLE:
            raise UnreadableImageError(f"packed with {OTHERS.get(kind, f'method {kind}')}: pack the zip with deflate")
        return cast(BinaryIO, archive.open(member))
    except UnreadableImageError:
        raise
    except DAMAGES as error:
        raise UnreadableImageError(f"cannot be unpacked: {error}") from error


class _TooManyMembersError(ValueError):
    """A zip's list of members is longer than allowed."""


class _Zip(zipfile.ZipFile):
    """A zip that closes its own file, and the zip that this lies in."""

    def __init__(self, file: BinaryIO, *, where: object, limits: Limits, outer: zipfile.ZipFile | None = None) -> None:
        self.file, self.outer = _Guarded(file, where=where, limits=limits), outer
        try:
            super().__init__(cast(BinaryIO, self.file))
        except Exception:
            self.file.close()
            raise
        self.file.listed = True

    def close(self) -> None:
        super().close()
        self.file.close()
        if self.outer is not None:
            self.outer.close()


class _Guarded:
    """A zip's file. Refuses to hand over too long a list of members, which `zipfile` reads in one piece.

    Attributes:
        listed: whether the list was read; what is read later are members, in blocks.
    """

    def __init__(self, file: BinaryIO, *, where: object, limits: Limits) -> None:
        self.file, self.where, self.limits, self.listed = file, where, limits, False
        self.seek, self.tell, self.seekable, self.close = file.seek, file.tell, file.seekable, file.close

    def read(self, size: int = -1) -> bytes:
        if self.listed or size < 0:
            return self.file.read(size)
        if size > MAX_NAMES:
            self._refuse(size, limit=MAX_NAMES, unit="bytes of names")
        data = self.file.read(size)
        members = data.count(MEMBER)
        if members > self.limits.max_files:
            self._refuse(members, limit=self.limits.max_files, unit="members", option="--max-files")
        return data

    def _refuse(self, got: int, *, limit: int, unit: str, option: str = "") -> None:
        raise _TooManyMembersError(f"raw data {self.where}: {too_large(got, limit=limit, unit=unit, option=option)}")


def _kind(member: zipfile.ZipInfo) -> str | None:
    """What a member is, in words, if it is neither a file nor a folder."""
    mode = member.external_attr >> 16
    if stat.S_IFMT(mode) == 0 or stat.S_ISDIR(mode):  # nothing said, as by zips made on Windows
        return None
    kind = kind_of(mode)
    if kind is None:
        return None
    return LINK if kind == "a symbolic link" else f"{kind}: not opened"


def _is_deep(name: str) -> bool:
    return name.count("/") > MAX_DEPTH


def _refuse_outside(path: Path, name: str) -> None:
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if name.startswith(("/", "\\")) or ".." in parts or (parts and parts[0].endswith(":")):
        raise ValueError(
            f"raw data {path}: member {name!r} points outside the zip, so the whole archive is refused; "
            "repack it with relative paths, or check its origin"
        )
