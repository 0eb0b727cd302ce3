"""The members of a zip: what its list claims is checked before anything is unpacked, and never exceeded."""

import io
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

from mdhfl.files import kind_of, open_regular
from mdhfl.preprocessing.raw.limits import MAX_DEPTH, MAX_NAMES, Limits, too_large
from mdhfl.preprocessing.raw.names import EMPTY_FOLDER, TOO_DEEP, folders_above, is_ignored
from mdhfl.preprocessing.raw.records import Skip, UnreadableImageError
from mdhfl.preprocessing.raw.streams import read_whole

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
        self.names: list[str] = []
        self.skipped: list[Skip] = []
        folders, everything = [], []
        for member in self.archive.infolist():
            name = member.filename
            _refuse_outside(path, name)
            if name.count("/") > MAX_DEPTH:
                self.skipped.append(Skip(name, TOO_DEEP))
                everything.append("/".join(name.split("/", MAX_DEPTH)[:-1]))
                continue
            everything.append(name)
            if (kind := _kind(member)) is not None:
                self.skipped.append(Skip(name, kind))
            elif member.is_dir():
                folders.append(name)
            elif not is_ignored(name):
                self.names.append(name)
        full = folders_above(everything)
        self.skipped.extend(Skip(name, EMPTY_FOLDER) for name in folders if name not in full and not is_ignored(name))
        self.names.sort()
        self.skipped.sort()

    def open(self, name: str) -> BinaryIO:
        """A stream of one member's bytes: at most as many as the zip's list claims."""
        return open_member(self.archive, name)

    def read(self, name: str) -> bytes:
        """The bytes of one member."""
        claimed = self.archive.getinfo(name).file_size
        if claimed > self.limits.file:
            raise UnreadableImageError(too_large(claimed, limit=self.limits.file, unit="bytes", option="--max-pixels"))
        with self.open(name) as stream:
            try:
                return read_whole(stream, limit=claimed + 1)  # one more: its checksum is compared at the end
            except DAMAGES as error:
                raise UnreadableImageError(f"cannot be unpacked: {error}") from error

    def glance(self, name: str) -> tuple[int, int]:
        """Size and checksum of a member: what members with the same bytes have in common."""
        member = self.archive.getinfo(name)
        return member.file_size, member.CRC

    def close(self) -> None:
        """Close the zip."""
        self.archive.close()


def open_zip(path: Path, *, limits: Limits, kind: str = "zip") -> zipfile.ZipFile:
    """Open a zip whose list of members, and what it claims of them, is within the limits.

    Args:
        path: of the file.
        limits: for the number of members and what they take unpacked.
        kind: what people call the file.

    Raises:
        ValueError: not a zip, or too large.
    """
    try:
        archive = _Zip(path, limits=limits)
    except _TooManyMembersError:
        raise
    except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError) as error:
        raise ValueError(f"raw data {path}: not a readable {kind} ({error}); is the download complete?") from error
    claimed = sum(member.file_size for member in archive.infolist())
    if claimed > limits.unpacked:
        archive.close()
        text = too_large(claimed, limit=limits.unpacked, unit="bytes unpacked", option="--max-unpacked (GiB)")
        raise ValueError(f"raw data {path}: {text}")
    return archive


def open_member(archive: zipfile.ZipFile, name: str) -> BinaryIO:
    """A stream of one member's bytes: at most as many as the zip's list claims.

    Raises:
        UnreadableImageError: it cannot be opened.
    """
    try:
        kind = archive.getinfo(name).compress_type
        if kind not in UNPACKABLE:
            raise UnreadableImageError(f"packed with {OTHERS.get(kind, f'method {kind}')}: pack the zip with deflate")
        return cast(BinaryIO, archive.open(name))
    except UnreadableImageError:
        raise
    except (*DAMAGES, KeyError) as error:
        raise UnreadableImageError(f"cannot be unpacked: {error}") from error


class _TooManyMembersError(ValueError):
    """A zip's list of members is longer than allowed."""


class _Zip(zipfile.ZipFile):
    """A zip that closes its own file."""

    def __init__(self, path: Path, *, limits: Limits) -> None:
        self.file = _Guarded(path, limits=limits)
        try:
            super().__init__(self.file)
        except Exception:
            self.file.close()
            raise
        self.file.listed = True

    def close(self) -> None:
        super().close()
        self.file.close()


class _Guarded(io.BufferedReader):
    """A zip's file. Refuses to hand over too long a list of members, which `zipfile` reads in one piece.

    Attributes:
        listed: whether the list was read; what is read later are members, in blocks.
    """

    def __init__(self, path: Path, *, limits: Limits) -> None:
        super().__init__(open_regular(path).detach())
        self.path, self.limits, self.listed = path, limits, False

    def read(self, size: int | None = -1, /) -> bytes:
        if self.listed or size is None or size < 0:
            return super().read(size)
        if size > MAX_NAMES:
            self._refuse(size, limit=MAX_NAMES, unit="bytes of names")
        data = super().read(size)
        members = data.count(MEMBER)
        if members > self.limits.max_files:
            self._refuse(members, limit=self.limits.max_files, unit="members", option="--max-files")
        return data

    def _refuse(self, got: int, *, limit: int, unit: str, option: str = "") -> None:
        raise _TooManyMembersError(f"raw data {self.path}: {too_large(got, limit=limit, unit=unit, option=option)}")


def _kind(member: zipfile.ZipInfo) -> str | None:
    """What a member is, in words, if it is neither a file nor a folder."""
    mode = member.external_attr >> 16
    if stat.S_IFMT(mode) == 0 or stat.S_ISDIR(mode):  # nothing said, as by zips made on Windows
        return None
    kind = kind_of(mode)
    if kind is None:
        return None
    return f"{kind}: not followed" if kind == "a symbolic link" else f"{kind}: not opened"


def _refuse_outside(path: Path, name: str) -> None:
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if name.startswith(("/", "\\")) or ".." in parts or (parts and parts[0].endswith(":")):
        raise ValueError(
            f"raw data {path}: member {name!r} points outside the zip, so the whole archive is refused; "
            "repack it with relative paths, or check its origin"
        )
