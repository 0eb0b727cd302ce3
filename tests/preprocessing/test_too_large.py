"""No picture takes more memory than its limit: each is refused by its header, in a process whose memory is measured."""

import bz2
import io
import struct

import numpy as np
import pytest
import tifffile
from fakes.bombs import (
    MB,
    bmp_of,
    gif_of,
    jpeg_of,
    measured,
    packed_zip,
    png_chunk,
    png_of,
    tiff_of,
    webp_of,
    zeros,
)
from fakes.raw_images import encoded, picture, png, write_files, write_zip
from PIL import Image

from mdhfl.preprocessing.raw.archive import open_files
from mdhfl.preprocessing.raw.limits import Limits
from mdhfl.preprocessing.raw.reading import decode_rgb
from mdhfl.preprocessing.raw.records import UnreadableImageError

DECODE = "decode_rgb(Path(sys.argv[1]).read_bytes()).shape"
READING = "import tifffile\nfrom mdhfl.preprocessing.raw.reading import decode_rgb"
READ = "[len(files.read(name)) for files in [open_files(Path(sys.argv[1]))] for name in files.names]"
ARCHIVE = "from mdhfl.preprocessing.raw.archive import open_files"


def deep_tiff(height: int, width: int) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, np.zeros((height, width, 3), np.uint16), compression="zlib", tile=(256, 256))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "make", "got"),
    [
        ("png", lambda: png_of(60_000, 60_000), "3,600,000,000"),
        ("png-square", lambda: png_of(8_000, 8_000, data=zeros(64 * MB)), "64,000,000"),
        ("png-long", lambda: png_of(1, 2**31 - 1), "2,147,483,647"),
        ("tiff", lambda: deep_tiff(8_000, 8_000), "64,000,000"),
        ("tiff-claims", lambda: tiff_of(100_000, 100_000, segment=zeros(1), bits=8), "10,000,000,000"),
        ("tile", lambda: tiff_of(16, 16, segment=zeros(300 * MB), tile=14_144, bits=8), "200,052,736"),
        ("deep-tile", lambda: tiff_of(16, 16, segment=zeros(300 * MB), tile=10_000), "100,000,000"),
        ("segment", lambda: tiff_of(16, 16, segment=zeros(300 * MB)), "in one segment"),
        ("gif", lambda: gif_of(65_535, 65_535), "4,294,836,225"),
        ("bmp", lambda: bmp_of(30_000, 30_000), "900,000,000"),
        ("jpeg", lambda: jpeg_of(65_500, 65_500), "4,290,250,000"),
        ("webp", lambda: webp_of(16_384, 16_384), "268,435,456"),
        ("ppm", lambda: b"P6 100000 100000 255\n", "10,000,000,000"),
    ],
)
def test_a_picture_is_refused_before_its_pixels_are_unpacked(tmp_path, name, make, got):
    path = tmp_path / name
    path.write_bytes(make())
    grown, said = measured(DECODE, path, imports=READING)
    assert said.startswith("UnreadableImageError: too large: the limit is "), said
    assert got in said
    assert grown < 100


def test_a_text_in_a_png_is_not_unpacked(tmp_path):
    for name, head in ((b"zTXt", b"k\0\0"), (b"iCCP", b"k\0\0"), (b"iTXt", b"k\0\1\0\0\0")):
        extra = png_chunk(name, head + zeros(300 * MB))
        (tmp_path / "x.png").write_bytes(png_of(8, 8, data=zeros(72), extra=extra))
        grown, _ = measured(DECODE, tmp_path / "x.png", imports=READING)
        assert grown < 100


def test_what_is_allowed_takes_no_more_than_the_limits_say(tmp_path):
    (tmp_path / "x.tif").write_bytes(deep_tiff(3_000, 4_000))
    grown, said = measured(DECODE, tmp_path / "x.tif", imports=READING)
    assert said == "(3000, 4000, 3)"
    assert grown < 24 * 12  # MB for 12 megapixels; all samples in 64 bits would take three times as much


def test_a_limit_can_be_raised_and_lowered():
    data = encoded(Image.fromarray(picture(0)))
    assert decode_rgb(data, limits=Limits(max_pixels=480)).shape == (20, 24, 3)
    with pytest.raises(UnreadableImageError, match=r"the limit is 479 pixels, got 480; raise it with --max-pixels"):
        decode_rgb(data, limits=Limits(max_pixels=479))
    huge = png_of(20_000, 20_000, data=zeros(1))  # above Pillow's own limit
    with pytest.raises(UnreadableImageError, match="damaged or truncated"):
        decode_rgb(huge, limits=Limits(max_pixels=400_000_000))
    assert Image.MAX_IMAGE_PIXELS == 1024**3 // 12  # as Pillow had it


@pytest.mark.parametrize("next_page", [8, 10, 2**31])
@pytest.mark.parametrize("bits", [8, 16])
def test_pages_in_a_circle_are_not_followed(next_page, bits):
    pixels = np.zeros((4, 4, 3), np.uint8 if bits == 8 else np.uint16).tobytes()
    assert decode_rgb(tiff_of(4, 4, segment=pixels, packing=1, bits=bits, next_page=next_page)).shape == (4, 4, 3)


def test_many_frames_are_refused():
    frames = [Image.new("RGB", (16, 16), (i, 0, 0)) for i in range(0, 250)]
    for kind, named in (
        ("GIF", "an animation"),
        ("PNG", "an animation"),
        ("WEBP", "an animation"),
        ("TIFF", "250 pages"),
    ):
        buffer = io.BytesIO()
        frames[0].save(buffer, kind, save_all=True, append_images=frames[1:])
        with pytest.raises(UnreadableImageError, match=named):
            decode_rgb(buffer.getvalue())


def test_a_decoder_that_no_suffix_names_does_not_run():
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n%%EOF\n"
    with pytest.raises(UnreadableImageError, match="not a recognised image format"):
        decode_rgb(eps)
    with pytest.raises(UnreadableImageError, match="packed with method 34925"):
        decode_rgb(tiff_of(4, 4, segment=b"x", packing=34925))


@pytest.mark.parametrize("claimed", [500 * MB, 10])
def test_a_member_of_zeros_is_not_unpacked(tmp_path, claimed):
    path = packed_zip(tmp_path / "x.zip", "a/x.png", zeros(500 * MB, wbits=-15), claimed=claimed)
    grown, said = measured(READ, path, imports=ARCHIVE)
    assert said.startswith("UnreadableImageError: " + ("too large: the limit is 4" if claimed > MB else "cannot be")), (
        said
    )
    assert grown < 50


def test_a_member_that_is_packed_without_a_bound_is_named(tmp_path):
    path = packed_zip(tmp_path / "x.zip", "a/x.png", bz2.compress(bytes(200 * MB)), claimed=10, method=12)
    grown, said = measured(READ, path, imports=ARCHIVE)
    assert said == "UnreadableImageError: packed with bzip2: pack the zip with deflate"
    assert grown < 50
    path = packed_zip(tmp_path / "y.zip", "a/x.png", b"", claimed=10, method=9)
    with pytest.raises(UnreadableImageError, match="packed with deflate64"):
        open_files(path).read("a/x.png")


def test_a_file_that_is_longer_than_a_picture_can_be(tmp_path):
    folder = write_files(tmp_path / "raw", {"a/x.png": b""})
    with (folder / "a" / "x.png").open("wb") as file:
        file.truncate(1 << 40)  # takes no room on the disk
    grown, said = measured(READ, folder, imports=ARCHIVE)
    assert said.startswith("UnreadableImageError: too large: the limit is 416,777,216 bytes, got 1,099,511,627,776"), (
        said
    )
    assert grown < 20


def test_archives_beyond_the_limits_are_refused_whole(tmp_path):
    path = write_zip(tmp_path / "raw.zip", {f"a/{i}.png": png(i) for i in range(5)})
    assert len(open_files(path, limits=Limits(max_files=5)).names) == 5
    with pytest.raises(
        ValueError, match=r"raw.zip: too large: the limit is 4 members, got 5; raise it with --max-files"
    ):
        open_files(path, limits=Limits(max_files=4))
    path = packed_zip(tmp_path / "big.zip", "a/x.png", b"x", claimed=2**32 - 2)
    assert open_files(path).names == ["a/x.png"]
    with pytest.raises(ValueError, match=r"limit is 1,073,741,824 bytes unpacked, got 4,294,967,294.*--max-unpacked"):
        open_files(path, limits=Limits(max_unpacked=1))


def test_a_list_of_members_is_refused_before_it_is_taken_apart(tmp_path):
    one = packed_zip(tmp_path / "x.zip", "a", b"", claimed=0).read_bytes()
    entry = one[one.index(b"PK\x01\x02") : one.index(b"PK\x05\x06")]
    for count, got in ((1_500_000, "1,500,000"), (6_000_000, "282,000,000")):
        end = b"PK\x06\x06" + (44).to_bytes(8, "little") + bytes(12) + (0).to_bytes(8, "little") * 2
        end += (len(entry) * count).to_bytes(8, "little") + (0).to_bytes(8, "little")
        end += b"PK\x06\x07" + bytes(4) + (len(entry) * count).to_bytes(8, "little") + (1).to_bytes(4, "little")
        end += b"PK\x05\x06" + b"\xff" * 16 + bytes(2)
        with (tmp_path / "many.zip").open("wb") as file:
            for _ in range(count // 100_000):
                file.write(entry * 100_000)
            file.write(end)
        grown, said = measured(READ, tmp_path / "many.zip", imports=ARCHIVE)
        assert "too large: the limit is" in said, said
        assert got in said
        assert grown < 150


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
def test_a_tiff_with_millions_of_strips_is_refused(order, big):
    strips = 2_000_000
    fields = [
        (256, 4, 1, 1),
        (257, 4, 1, strips),
        (258, 3, 1, 8),
        (259, 3, 1, 1),
        (262, 3, 1, 1),
        (273, 4, strips, 500),
    ]
    start = b"II" if order == "<" else b"MM"
    head = struct.pack(f"{order}HHHQQ", 43, 8, 0, 16, 6) if big else struct.pack(f"{order}HIH", 42, 8, 6)
    kind = f"{order}HHQQ" if big else f"{order}HHII"
    data = start + head + b"".join(struct.pack(kind, *field) for field in fields) + bytes(500 + 4 * strips)
    with pytest.raises(UnreadableImageError, match="limit is 1,000,000 numbers in a field of a TIFF, got 2,000,000"):
        decode_rgb(data)


def test_a_jpeg_with_thousands_of_scans_is_refused():
    buffer = io.BytesIO()
    Image.fromarray(picture(0)).save(buffer, "JPEG", progressive=True)
    data = buffer.getvalue()
    assert decode_rgb(data).shape == (20, 24, 3)
    last = data[data.rindex(b"\xff\xda") : -2]
    with pytest.raises(UnreadableImageError, match="too large: the limit is 500 scans in a JPEG, got 10,0"):
        decode_rgb(data[:-2] + last * 10_000 + data[-2:])
