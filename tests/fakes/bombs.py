"""Files that claim, or unpack to, far more than they are; and what reading them costs."""

import struct
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

MB = 1 << 20

MEASURE = """
import sys
from pathlib import Path
def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) >> 10
{imports}
before = peak()
try:
    said = {expression}
except Exception as error:
    said = f"{{type(error).__name__}}: {{error}}"
print(peak() - before)
print(said)
"""


def measured(expression: str, *arguments: object, imports: str, seconds: float = 60) -> tuple[int, str]:
    """Evaluate an expression in a process of its own.

    Args:
        expression: Python; `sys.argv[1]` is the first argument.
        imports: statements that come first and do not count.
        seconds: after which it counts as waiting for ever.

    Returns:
        MB by which its memory grew at most, and its value or the error, as text.
    """
    code = MEASURE.format(imports=imports, expression=expression)
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        check=True, capture_output=True, text=True, timeout=seconds, env={"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    grown, _, said = done.stdout.partition("\n")
    return int(grown), said.strip()


def zeros(size: int, *, wbits: int = 15) -> bytes:
    """So many zero bytes, deflated: a thousandth of them."""
    packer = zlib.compressobj(1, zlib.DEFLATED, wbits)
    block = bytes(MB)
    parts = [packer.compress(block) for _ in range(size // MB)]
    return b"".join([*parts, packer.compress(bytes(size % MB)), packer.flush()])


def png_chunk(name: bytes, data: bytes) -> bytes:
    """One chunk of a PNG."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_of(width: int, height: int, *, data: bytes = b"", extra: bytes = b"") -> bytes:
    """A grey PNG of that size, whatever its data."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = png_chunk(b"IHDR", header) + extra + png_chunk(b"IDAT", data) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def tiff_of(
    width: int,
    height: int,
    *,
    segment: bytes,
    packing: int = 8,
    tile: int | None = None,
    bits: int = 16,
    next_page: int = 0,
) -> bytes:
    """An RGB TIFF of one segment, which may hold anything.

    Args:
        packing: 1 stored, 8 deflate, 34925 lzma.
        tile: side of its only tile; None: one strip.
        next_page: where the second page begins; 8: at the first, a circle.
    """
    place = 8 + 2 + 12 * (12 if tile else 11) + 4
    fields = [
        (256, 4, 1, width), (257, 4, 1, height), (258, 3, 3, place), (259, 3, 1, packing), (262, 3, 1, 2),
        (277, 3, 1, 3), (284, 3, 1, 1), (339, 3, 3, place + 6),
    ]  # fmt: skip
    start = place + 12
    if tile:
        fields += [(322, 4, 1, tile), (323, 4, 1, tile), (324, 4, 1, start), (325, 4, 1, len(segment))]
    else:
        fields += [(273, 4, 1, start), (278, 4, 1, height), (279, 4, 1, len(segment))]
    entries = b"".join(struct.pack("<HHII", *field) for field in sorted(fields))
    samples = struct.pack("<3H", bits, bits, bits) + struct.pack("<3H", 1, 1, 1)
    directory = struct.pack("<H", len(fields)) + entries + struct.pack("<I", next_page)
    return b"II*\x00" + struct.pack("<I", 8) + directory + samples + segment


def webp_of(width: int, height: int) -> bytes:
    """A WebP whose header claims that canvas."""
    size = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    chunk = b"VP8X" + struct.pack("<I", 10) + bytes(4) + size
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk


def jpeg_of(width: int, height: int) -> bytes:
    """A JPEG whose frame header claims that size."""
    frame = struct.pack(">HBHHB", 11, 8, height, width, 1) + bytes([1, 0x11, 0])
    return b"\xff\xd8\xff\xc0" + frame + b"\xff\xda" + struct.pack(">HBBBBBB", 8, 1, 1, 0, 0, 63, 0) + b"\xff\xd9"


def bmp_of(width: int, height: int) -> bytes:
    """A BMP whose header claims that size."""
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + header


def gif_of(width: int, height: int) -> bytes:
    """A GIF of one pixel on a screen of that size."""
    return (
        b"GIF89a"
        + struct.pack("<HHBBB", width, height, 0x80, 0, 0)
        + bytes(6)
        + (b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00\x3b")
    )


def packed_zip(path: Path, name: str, packed: bytes, *, claimed: int, method: int = zipfile.ZIP_DEFLATED) -> Path:
    """A zip of one member with these packed bytes; its list claims an unpacked size of its own choice."""
    kind = (20, 0, method, 0, 0, 0, len(packed), claimed, len(name))
    local = b"PK\x03\x04" + struct.pack("<HHHHHIIIHH", *kind, 0) + name.encode() + packed
    entry = b"PK\x01\x02" + struct.pack("<HHHHHHIIIHHHHHII", 20, *kind, 0, 0, 0, 0, 0, 0) + name.encode()
    end = b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 1, 1, len(entry), len(local), 0)
    path.write_bytes(local + entry + end)
    return path
