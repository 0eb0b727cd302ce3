"""An array in an `.npz`, read row by row: its header may claim anything, and unpacked it may not fit in memory."""

import io
import math
import zipfile
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from mdhfl.preprocessing.raw.limits import Limits, too_large
from mdhfl.preprocessing.raw.names import is_ignored
from mdhfl.preprocessing.raw.zip_files import open_member, open_zip, zip_within

HEADER = 1 << 14  # bytes: more than NumPy itself accepts
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
    """An array in an `.npz`, opened. Rows are cheap in ascending order: the packed stream is read forwards.

    Attributes:
        shape: as its header says, and as its length was found to be.
        dtype: of its elements.

    Raises:
        ValueError: no array of numbers in C order, or not as long as its header says.
    """

    def __init__(self, archive: zipfile.ZipFile, name: str) -> None:
        self.stream = open_member(archive, archive.getinfo(f"{name}.npy"))
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
        expected = self.start + self.shape[0] * self.row_bytes
        got = archive.getinfo(f"{name}.npy").file_size
        if min(self.shape) < 0 or expected != got:
            raise ValueError(f"array {name}: shape {self.shape} of {self.dtype} takes {expected} bytes, got {got}")

    def rows(self, start: int, stop: int) -> NDArray[np.generic]:
        """Some of the rows, (stop - start, ...); raises what unpacking raises where they are damaged."""
        self.stream.seek(self.start + start * self.row_bytes)
        data = self.stream.read((stop - start) * self.row_bytes)
        return np.frombuffer(data, dtype=self.dtype).reshape((stop - start, *self.shape[1:]))

    def check(self) -> None:
        """Read to the end, where the checksum is compared; raises what unpacking raises where it is damaged."""
        self.stream.seek(0)
        while self.stream.read(BLOCK):
            pass

    def close(self) -> None:
        """Close the stream."""
        self.stream.close()
