"""A NIfTI file as a stream: one slice in memory at a time, since packed it may be a thousand times smaller.

Slices are those along the file's third axis, numbered from 0 as they are stored; each is turned so that, of the axes
right, front and top that the header names, the first runs along its rows and the second down its columns (RAS+). The
same volume stored in another orientation gives the same pictures, as long as its slices lie in the same plane.
"""

import gzip
import io
import math
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from mdhfl_decoding.limits import Limits, too_large
from mdhfl_decoding.notes import note
from mdhfl_decoding.pixels import Pixels, UnreadableImageError
from mdhfl_decoding.reading import array_rgb
from mdhfl_decoding.scaling import Scaling, to_bytes
from mdhfl_decoding.sizes import check_pixels, check_samples

HEADER = 348  # bytes, of NIfTI-1
GZIP = b"\x1f\x8b"
BLOCK = 1 << 20
PLANES = ("sagittal", "coronal", "axial")  # across the axes to the right, to the front, to the top


class Volume:
    """A picture or a volume, opened: its header is checked, nothing else is read.

    Attributes:
        slices: along the third axis; None: a picture.
        plane: in which they lie, "sagittal", "coronal" or "axial"; None: the header does not say.

    Raises:
        UnreadableImageError: too large, in colour, or with other axes than a picture or a volume has.
        Exception: whatever nibabel raises on damaged headers.
    """

    def __init__(self, stream: BinaryIO, *, limits: Limits) -> None:
        import nibabel  # only where it is needed: half a second of import

        self.limits, self.file = limits, stream
        packed = stream.read(len(GZIP)) == GZIP
        stream.seek(0)
        self.stream = cast(BinaryIO, gzip.GzipFile(fileobj=stream)) if packed else stream
        header = nibabel.Nifti1Header.from_fileobj(io.BytesIO(self.stream.read(HEADER)))  # type: ignore[no-untyped-call]
        shape, dtype, offset = header.get_data_shape(), header.get_data_dtype(), header.get_data_offset()
        axes = list(shape)
        while len(axes) > 2 and axes[-1] == 1:
            del axes[-1]
        if dtype.fields:
            raise UnreadableImageError("a colour NIfTI: only greyscale is supported; save it as PNG or TIFF")
        if len(axes) not in (2, 3) or min(axes) < 1:
            raise UnreadableImageError(f"expected a picture or a volume, got shape {tuple(shape)}")
        flat = len(axes) == 3 and 1 in axes[:2]  # one slice, of which the file's first or second axis is the thin one
        self.across = axes.index(1) if flat else 2
        self.along = tuple(axis for axis in range(3) if axis != self.across)
        height, width = (axes[axis] for axis in self.along)
        check_pixels(height * width, limits=limits)
        check_samples(height * width * dtype.itemsize, limits=limits)
        self._check_length(offset + math.prod(axes) * dtype.itemsize)
        self.slices = axes[2] if len(axes) == 3 and not flat else None
        self.padding = (0,) * (len(shape) - 3)
        self.turning = _turning(header)
        self.plane = PLANES[int(self.turning[self.across, 0])] if self.turning is not None else None
        self.data = nibabel.arrayproxy.ArrayProxy(self.stream, header)  # type: ignore[no-untyped-call]

    def read(self, place: int) -> NDArray[np.generic]:
        """(height, width), one slice; of a picture there is only the first. Cheap in ascending order."""
        where: list[slice | int] = [slice(None), slice(None), slice(None)]
        where[self.across] = place
        slicer = (*where, *self.padding)[: self.data.ndim]
        array = np.asarray(self.data[slicer])
        if self.turning is None:
            note("orientation not stated: as stored")
            return np.swapaxes(array, 0, 1)
        (first, turn), (second, other) = (self.turning[axis] for axis in self.along)
        if (turn, other) != (1, 1) or first > second:
            note("turned to RAS+")
        array = array[:: int(turn), :: int(other)]
        return np.swapaxes(array, 0, 1) if first < second else array

    def rgb(self, place: int, *, scaling: Scaling) -> Pixels:
        """One slice as RGB; bytes as they are, unless there is a window.

        Raises:
            UnreadableImageError: there is no such slice, or it has values that are not finite.
        """
        if place >= (self.slices or 1):
            raise UnreadableImageError(f"has no slice {place}, got {self.slices or 1} slice(s)")
        array = self.read(place)
        return array_rgb(array if scaling.window is None else to_bytes(array, scaling=scaling), scaling=scaling)

    def check(self) -> None:
        """Read to the end, where the checksum of a packed file is compared.

        Raises:
            UnreadableImageError: it is longer than allowed.
            Exception: whatever unpacking raises on damaged files.
        """
        self.stream.seek(0)
        length = 0
        while block := self.stream.read(BLOCK):
            length += len(block)
            self._check_length(length)

    def close(self) -> None:
        """Close the file."""
        self.stream.close()
        self.file.close()

    def _check_length(self, length: int) -> None:
        if length > self.limits.unpacked:
            text = too_large(length, limit=self.limits.unpacked, unit="bytes unpacked", option="--max-unpacked (GiB)")
            raise UnreadableImageError(text)


def _turning(header: Any) -> NDArray[np.float64] | None:
    """For each of the file's three axes, the axis of RAS+ that it lies closest to, and 1 or -1: its direction.

    None: the header names no space.
    """
    import nibabel

    if int(header["sform_code"]) == int(header["qform_code"]) == 0:
        return None
    closest = nibabel.orientations.io_orientation(header.get_best_affine())  # type: ignore[no-untyped-call]
    turning = np.asarray(closest)
    return turning if np.isfinite(turning).all() else None
