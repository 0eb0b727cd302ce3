"""An array in an `.npz`, read row by row: its header may claim anything, and unpacked it may not fit in memory."""

import io
import math
import struct
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

import numpy as np
from numpy.typing import NDArray

from mdhfl.preprocessing.raw.limits import Limits, too_large
from mdhfl.preprocessing.raw.names import is_ignored
from mdhfl.preprocessing.raw.zip_files import open_member, open_zip, zip_within

HEADER = 1 << 14  # bytes: more than NumPy itself accepts
LOCAL_HEADER = struct.Struct("<26xHH")  # before a member's name, extra field and bytes: the lengths of the former two
BLOCK = 1 << 20
MOST_NESTED = 1 << 30  # bytes of an `.npz` in a zip: to go back in it is to unpack it again from its start
KINDS = "biuf"  # whole and real numbers: never pickled objects


def open_arrays(path: Path, *, limits: Limits) -> tuple[zipfile.ZipFile, str]:
    """Open an `.npz`, or the one that a zip holds.

    Returns:
        The `.npz`, and the name of its file.

    Raises:
        ValueError: no zip, too large, or one with several `.npz`.
    """
    archive = open_zip(path, limits=limits, kind=".npz")
    found = [
        one for one in archive.infolist() if one.filename.lower().endswith(".npz") and not is_ignored(one.filename)
    ]
    if not found:
        return archive, path.name
    name = PurePosixPath(found[0].filename).name
    try:
        if len(found) > 1:
            raise ValueError(f"raw data {path}: holds {len(found)} .npz; unpack it, and give one of them with --raw")
        if found[0].file_size > MOST_NESTED:
            text = too_large(found[0].file_size, limit=MOST_NESTED, unit="bytes of an .npz in a zip")
            raise ValueError(f"raw data {path}: {name}: {text}; unpack the zip, and give the .npz with --raw")
        return zip_within(archive, found[0], where=f"{path}: {name}", limits=limits, kind=".npz"), name
    except ValueError:
        archive.close()
        raise


class StoredArray:
    """An array in an `.npz`, opened. One that is not packed is read where its rows lie, a packed one from its start on.

    Rows of a packed one are cheap in ascending order.

    Attributes:
        shape: as its header says, and as its length was found to be.
        dtype: of its elements.

    Raises:
        ValueError: no array of numbers in C order, or not as long as its header says.
    """

    def __init__(self, archive: zipfile.ZipFile, name: str) -> None:
        member = archive.getinfo(f"{name}.npy")
        self.stream = open_member(archive, member)
        self.plain = _plain_bytes(archive, member)
        header = io.BytesIO(self.stream.read(HEADER))
        try:
            first = np.lib.format.read_magic(header) == (1, 0)
            read = np.lib.format.read_array_header_1_0 if first else np.lib.format.read_array_header_2_0
            self.shape, fortran, self.dtype = read(header)
        except Exception as error:  # NumPy lets Python's own parser complain
            raise ValueError(f"array {name}: its header cannot be read") from error
        self.start = header.tell()
        if self.dtype.kind not in KINDS or not self.shape or (fortran and len(self.shape) > 1):
            raise ValueError(f"array {name}: expected numbers in C order, got {self.dtype} of shape {self.shape}")
        self.row_bytes = math.prod(self.shape[1:]) * self.dtype.itemsize
        expected, got = self.start + self.shape[0] * self.row_bytes, member.file_size
        if min(self.shape) < 0 or expected != got:
            raise ValueError(f"array {name}: shape {self.shape} of {self.dtype} takes {expected} bytes, got {got}")

    def rows(self, start: int, stop: int) -> NDArray[np.generic]:
        """Some of the rows, (stop - start, ...); raises what unpacking raises where they are damaged."""
        place, length = self.start + start * self.row_bytes, (stop - start) * self.row_bytes
        data = self._unpacked(place, length) if self.plain is None else self.plain.read(place, length)
        return np.frombuffer(data, dtype=self.dtype).reshape((stop - start, *self.shape[1:]))

    def _unpacked(self, place: int, length: int) -> bytes:
        here = self.stream.tell()
        if here > place:
            here = self.stream.seek(0)
        while here < place and (block := self.stream.read(min(BLOCK, place - here))):  # seek() takes 16 MiB at once
            here += len(block)
        return self.stream.read(length)

    def check(self) -> None:
        """Read to the end, where the checksum is compared; raises what unpacking raises where it is damaged."""
        self.stream.seek(0)
        while self.stream.read(BLOCK):
            pass

    def close(self) -> None:
        """Close the stream."""
        self.stream.close()


@dataclass(frozen=True)
class _PlainBytes:
    """A member that is not packed: its bytes lie in the zip's file as they are."""

    file: IO[bytes]
    start: int

    def read(self, place: int, length: int) -> bytes:
        """Some of its bytes; their checksum is not compared."""
        self.file.seek(self.start + place)
        return self.file.read(length)


def _plain_bytes(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> _PlainBytes | None:
    """Where to find the bytes of a member that is not packed; None: it is packed."""
    if member.compress_type != zipfile.ZIP_STORED or member.compress_size != member.file_size or archive.fp is None:
        return None
    archive.fp.seek(member.header_offset)
    name, extra = LOCAL_HEADER.unpack(archive.fp.read(LOCAL_HEADER.size))
    return _PlainBytes(archive.fp, start=member.header_offset + LOCAL_HEADER.size + name + extra)
