"""Files of every kind, damaged: cut, bytes changed, numbers made huge, parts of others put in, or never anything."""

import io
import time
from collections.abc import Callable

import nibabel
import numpy as np
from PIL import Image
from pydicom.uid import JPEGBaseline8Bit, RLELossless

from fakes.dicom_files import dicom_file
from fakes.picture_files import deepened, exif, png_file, saved, tiff_file, with_opacity
from mdhfl.preprocessing.raw.limits import Limits
from mdhfl.preprocessing.raw.nifti_volume import Volume
from mdhfl.preprocessing.raw.pixels import UnreadableImageError
from mdhfl.preprocessing.raw.reading import decode_rgb
from mdhfl.preprocessing.raw.scaling import Scaling

LIMITS = Limits(max_pixels=1_000_000)
MAGICS = (b"II*\0", b"MM\0*", b"II+\0", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF89a", b"BM", b"P6 9 9 65535\n",
          bytes(128) + b"DICM", b"RIFF\x40\0\0\0WEBPVP8L", b"\0\0\0\x0cjP  \r\n\x87\n", b"")  # fmt: skip

HUGE = (b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\x7f", b"\0\1\0\0")


def whole_files() -> dict[str, bytes]:
    """One small file of every kind."""
    seen = np.random.default_rng(0).integers(0, 256, (24, 20, 3), dtype=np.uint8)
    planes = np.ascontiguousarray(np.moveaxis(seen, -1, 0))
    buffer = io.BytesIO()
    Image.fromarray(seen).save(buffer, "GIF", save_all=True, append_images=[Image.fromarray(255 - seen)])
    rgba = {"photometric": "rgb", "extrasamples": ["unassalpha"]}
    volume = nibabel.Nifti1Image(np.arange(24 * 20 * 3, dtype=np.int16).reshape(24, 20, 3), np.eye(4))
    packed = (24).to_bytes(4, "little")  # of RLE: no channel where there should be one
    return {
        "png": png_file(seen, orientation=6),
        "deep png": png_file(with_opacity(deepened(seen, 12), "full"), orientation=8),
        "jpeg": saved(seen, "JPEG", orientation=5),
        "webp": saved(seen, "WEBP", orientation=3),
        "bmp": saved(seen, "BMP"),
        "gif": saved(seen, "GIF"),
        "animation": buffer.getvalue(),
        "jp2": saved(seen, "JPEG2000"),
        "ppm": b"P6 20 24 65535\n" + deepened(seen, 16).astype(">u2").tobytes(),
        "tiff": tiff_file(seen, orientation=7, photometric="rgb", compression="zlib"),
        "deep tiff": tiff_file(with_opacity(deepened(seen, 14), "full"), orientation=2, bigtiff=True, **rgba),
        "planar tiff": tiff_file(deepened(planes, 16), photometric="rgb", planarconfig="separate", byteorder=">"),
        "real tiff": tiff_file((seen / 255).astype(np.float64), photometric="rgb", compression="zlib"),
        "channels": tiff_file(planes[None], imagej=True, metadata={"axes": "ZCYX"}),
        "ome": tiff_file(planes, ome=True, photometric="minisblack", metadata={"axes": "CYX"}),
        "pillow's tiff": saved(seen, "TIFF", compression="tiff_lzw"),
        "grey tiff": saved(deepened(seen[:, :, 0], 12), "TIFF", compression="tiff_lzw"),
        "dicom": dicom_file(deepened(seen[:, :, 0], 12), bits=12, WindowCenter=2000, WindowWidth=3000),
        "dicom jpeg": dicom_file(seen[:, :, 0], syntax=JPEGBaseline8Bit, frame=saved(seen[:, :, 0], "JPEG")),
        "dicom rle": dicom_file(seen[:, :, 0], syntax=RLELossless, frame=packed + bytes(300)),
        "nifti": volume.to_bytes(),
        "exif": exif(6).tobytes(),
    }


def mutated(number: int, files: dict[str, bytes]) -> tuple[str, bytes]:
    """The damaged file of this number, with the name of what it was."""
    random = np.random.default_rng(number)
    names = sorted(files)
    name = names[int(random.integers(len(names)))]
    data = bytearray(files[name])
    ways: list[Callable[[], None]] = [
        lambda: data.__delitem__(slice(int(random.integers(len(data))), None)),
        lambda: _change(data, random, most=256),
        lambda: _change(data, random, most=len(data)),
        lambda: _huge(data, random),
        lambda: data.__setitem__(slice(int(random.integers(len(data))), None), random.bytes(200)),
        lambda: data.__setitem__(slice(0, None), MAGICS[int(random.integers(len(MAGICS)))] + random.bytes(600)),
        lambda: data.extend(files[names[int(random.integers(len(names)))]]),
    ]
    for _ in range(int(random.integers(1, 4))):
        if data:
            ways[int(random.integers(len(ways)))]()
    return name, bytes(data)


def worst(first: int, count: int) -> tuple[float, str, int]:
    """Decode damaged files; anything but pixels or a reason is an error.

    Returns:
        Seconds of the slowest, what it was, and how many could be read.
    """
    files, slowest, readable = whole_files(), (0.0, ""), 0
    for data in files.values():
        _decode(data)  # what is imported for the first file of a kind is no part of its time
    for number in range(first, first + count):
        name, data = mutated(number, files)
        started = time.perf_counter()
        try:
            readable += _decode(data)
        except Exception as error:
            raise AssertionError(f"damaged file {number} ({name}): {type(error).__name__}: {error}") from error
        slowest = max(slowest, (time.perf_counter() - started, f"damaged file {number} ({name})"))
    return (*slowest, readable)


def _decode(data: bytes) -> bool:
    try:
        if data[344:347] in (b"n+1", b"ni1"):
            return _decode_volume(data)
        pixels = decode_rgb(data, limits=LIMITS, scaling=Scaling(nan="black"))
    except UnreadableImageError:
        return False
    assert pixels.ndim == 3
    assert pixels.shape[2] == 3
    assert pixels.dtype == np.uint8
    assert pixels.shape[0] * pixels.shape[1] <= LIMITS.max_pixels
    return True


def _decode_volume(data: bytes) -> bool:
    try:
        volume = Volume(io.BytesIO(data), limits=LIMITS)
        volume.check()
        return volume.rgb(0, scaling=Scaling(nan="black")).ndim == 3
    except UnreadableImageError:
        return False
    except Exception:  # the source names whatever decoders raise on damaged headers
        return False


def _change(data: bytearray, random: np.random.Generator, *, most: int) -> None:
    for place in random.integers(0, min(most, len(data)), int(random.integers(1, 12))):
        data[int(place)] = int(random.integers(256))


def _huge(data: bytearray, random: np.random.Generator) -> None:
    place = int(random.integers(max(1, min(600, len(data)))))
    data[place : place + 4] = HUGE[int(random.integers(len(HUGE)))]
