"""One known picture in every container, depth, orientation and form of opacity."""

import io
import struct
import zlib
from typing import Any

import numpy as np
import tifffile
from PIL import Image

from fakes.bombs import png_chunk

ORIENTATION = 274
OPACITIES = ("none", "full", "nothing", "unspecified")  # of which all show the picture as it is


def as_stored(seen: np.ndarray, orientation: int) -> np.ndarray:
    """The rows and columns of a file with this orientation, 1 to 8, that is seen so."""
    stored = {
        1: lambda: seen,
        2: lambda: seen[:, ::-1],
        3: lambda: seen[::-1, ::-1],
        4: lambda: seen[::-1],
        5: lambda: seen.swapaxes(0, 1),
        6: lambda: np.rot90(seen, 1),
        7: lambda: np.rot90(seen, 2).swapaxes(0, 1),
        8: lambda: np.rot90(seen, -1),
    }[orientation]()
    return np.ascontiguousarray(stored)


def deepened(pixels: np.ndarray, bits: int) -> np.ndarray:
    """The same picture in so many bits: 255 becomes the largest number that they hold."""
    deep = np.rint(pixels * ((2**bits - 1) / 255))
    return deep.astype(np.uint8 if bits <= 8 else np.uint16)


def with_opacity(samples: np.ndarray, opacity: str) -> np.ndarray:
    """The samples with one more channel, or none."""
    if opacity == "none":
        return samples
    most = np.iinfo(samples.dtype).max if opacity == "full" else 0
    return np.dstack([samples, np.full(samples.shape[:2], most, samples.dtype)])


def png_file(samples: np.ndarray, *, orientation: int = 1, filters: bool = True) -> bytes:
    """A PNG of 8 or 16 bits and 1 to 4 channels; each row has another of PNG's five filters."""
    height, width, channels = samples.shape
    rows = _filtered(samples.astype(samples.dtype.newbyteorder(">")), filters=filters)
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    header = struct.pack(">IIBBBBB", width, height, samples.dtype.itemsize * 8, kind, 0, 0, 0)
    chunks = png_chunk(b"IHDR", header)
    if orientation > 1:
        chunks += png_chunk(b"eXIf", exif(orientation).tobytes().removeprefix(b"Exif\0\0"))
    return b"\x89PNG\r\n\x1a\n" + chunks + png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")


def tiff_file(samples: np.ndarray, *, orientation: int = 1, **options: Any) -> bytes:
    """A TIFF as tifffile writes it."""
    tags = [(ORIENTATION, "H", 1, orientation, True)]
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, samples, extratags=tags, **options)
    return buffer.getvalue()


def saved(pixels: np.ndarray, kind: str, *, orientation: int = 1, **options: Any) -> bytes:
    """A file as Pillow writes it."""
    buffer = io.BytesIO()
    if orientation > 1:
        options["exif"] = exif(orientation)
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def exif(orientation: int) -> Image.Exif:
    """EXIF that says nothing but an orientation."""
    said = Image.Exif()
    said[ORIENTATION] = orientation
    return said


def lzw(data: bytes) -> bytes:
    """TIFF's LZW without a dictionary: every byte is a code of its own of 9 bits."""
    codes = []
    for start in range(0, len(data), 200):
        codes += [256, *data[start : start + 200]]
    bits = "".join(f"{code:09b}" for code in [*codes, 257])
    bits += "0" * (-len(bits) % 8)
    return bytes(int(bits[place : place + 8], 2) for place in range(0, len(bits), 8))


def _filtered(samples: np.ndarray, *, filters: bool) -> bytes:
    height, _, channels = samples.shape
    step = channels * samples.dtype.itemsize
    rows = np.frombuffer(samples.tobytes(), np.uint8).reshape(height, -1).astype(int)
    above = np.vstack([np.zeros_like(rows[:1]), rows[:-1]])
    left, corner = (np.hstack([np.zeros((height, step), int), one[:, :-step]]) for one in (rows, above))
    near = left + above - corner
    distances = [np.abs(near - one) for one in (left, above, corner)]
    closest = np.where(
        (distances[0] <= distances[1]) & (distances[0] <= distances[2]),
        left,
        np.where(distances[1] <= distances[2], above, corner),
    )
    guesses = [np.zeros_like(rows), left, above, (left + above) // 2, closest]
    packed = b""
    for number in range(height):
        kind = number % 5 if filters else 0
        packed += bytes([kind]) + ((rows[number] - guesses[kind][number]) % 256).astype(np.uint8).tobytes()
    return packed
