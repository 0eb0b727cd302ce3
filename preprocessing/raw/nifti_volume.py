"""A NIfTI file as a stream: one slice in memory at a time, since packed it may be a thousand times smaller."""

import gzip
import io
import math
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from mdhfl.preprocessing.raw.limits import Limits, too_large
from mdhfl.preprocessing.raw.records import UnreadableImageError
from mdhfl.preprocessing.raw.sizes import check_pixels, check_samples

HEADER = 348  # bytes, of NIfTI-1
GZIP = b"\x1f\x8b"
BLOCK = 1 << 20


class Volume:
    """A picture or a volume, opened: its header is checked, nothing else is read.

    Attributes:
        slices: along the third axis; None: a picture.

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
        check_pixels(axes[0] * axes[1], limits=limits)
        check_samples(axes[0] * axes[1] * dtype.itemsize, limits=limits)
        self._check_length(offset + math.prod(axes) * dtype.itemsize)
        self.slices = axes[2] if len(axes) == 3 else None
        self.padding = (0,) * (len(shape) - 3)
        self.data = nibabel.arrayproxy.ArrayProxy(self.stream, header)  # type: ignore[no-untyped-call]

    def read(self, place: int) -> NDArray[np.generic]:
        """(x, y), one slice; of a picture there is only the first. Cheap in ascending order."""
        slicer = (slice(None), slice(None), place, *self.padding)[: self.data.ndim]
        return np.asarray(self.data[slicer])

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
