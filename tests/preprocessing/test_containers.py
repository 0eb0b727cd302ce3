"""A known picture in every container, depth, orientation and form of opacity: the same pixels come back."""

import io
import struct

import numpy as np
import pytest
from fakes.bombs import png_chunk, tiff_of
from fakes.dicom_files import dicom_file
from fakes.picture_files import (
    OPACITIES,
    as_stored,
    deepened,
    lzw,
    png_file,
    saved,
    tiff_file,
    with_opacity,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from mdhfl.preprocessing.raw.notes import listening
from mdhfl.preprocessing.raw.reading import decode_rgb
from mdhfl.preprocessing.raw.records import UnreadableImageError
from mdhfl.preprocessing.raw.scaling import Scaling

DEPTHS = st.sampled_from([8, 10, 12, 14, 16])
ORIENTATIONS = st.integers(1, 8)
ENDS = ("0 is black", "0 is white", "0 is white of 16 bits")


@st.composite
def pictures(draw: st.DrawFn, *, grey: bool = False) -> np.ndarray:
    """(height, width, 3) uint8 with white and black: without them nothing in a deep picture tells its depth."""
    height, width = draw(st.integers(2, 12)), draw(st.integers(2, 12))
    pixels = draw(arrays(np.uint8, (height, width, 3)))
    pixels[0, 0], pixels[-1, -1] = 255, 0
    return np.repeat(pixels[:, :, :1], 3, axis=2) if grey else pixels


def check(data: bytes, expected: np.ndarray, *, most: int = 1, **options: object) -> None:
    pixels = decode_rgb(data, **options)
    assert pixels.shape == expected.shape
    assert pixels.dtype == np.uint8
    assert np.abs(pixels.astype(int) - expected.astype(int)).max() <= most


@given(pictures(), DEPTHS, ORIENTATIONS, st.sampled_from(["none", "full", "nothing"]))
@settings(deadline=None)
def test_png(pixels, bits, orientation, opacity):
    samples = with_opacity(deepened(as_stored(pixels, orientation), bits), opacity)
    check(png_file(samples, orientation=orientation), pixels)


@given(pictures(grey=True), DEPTHS, ORIENTATIONS, st.sampled_from(["none", "full", "nothing"]))
@settings(deadline=None)
def test_grey_png(pixels, bits, orientation, opacity):
    samples = with_opacity(deepened(as_stored(pixels, orientation)[:, :, :1], bits), opacity)
    check(png_file(samples, orientation=orientation), pixels)


@given(
    pictures(), DEPTHS, ORIENTATIONS, st.sampled_from(OPACITIES), st.sampled_from(["contig", "separate"]),
    st.sampled_from([None, "zlib"]), st.sampled_from("<>"), st.booleans(),
)  # fmt: skip
@settings(deadline=None, max_examples=200)
def test_tiff(pixels, bits, orientation, opacity, planes, packing, order, big):
    samples = with_opacity(deepened(as_stored(pixels, orientation), bits), opacity)
    said = "unspecified" if opacity == "unspecified" else "unassalpha"
    fourth = {} if opacity == "none" else {"extrasamples": [said]}
    if planes == "separate":
        samples = np.ascontiguousarray(np.moveaxis(samples, -1, 0))
    data = tiff_file(samples, orientation=orientation, photometric="rgb", planarconfig=planes, compression=packing,
                     byteorder=order, bigtiff=big, **fourth)  # fmt: skip
    check(data, pixels)


@given(
    pictures(grey=True), DEPTHS, ORIENTATIONS, st.sampled_from(["0 is black", "0 is white", "0 is white of 16 bits"])
)
@settings(deadline=None)
def test_grey_tiff_whichever_end_is_white(pixels, bits, orientation, ends):
    samples = deepened(as_stored(pixels, orientation)[:, :, 0], bits)
    if ends != "0 is black":
        most = 2**bits - 1 if ends == "0 is white" else np.iinfo(samples.dtype).max
        samples = (most - samples).astype(samples.dtype)
    kind = "minisblack" if ends == "0 is black" else "miniswhite"
    check(tiff_file(samples, orientation=orientation, photometric=kind), pixels)


@given(pictures(), ORIENTATIONS, st.sampled_from(["int8", "int16", "uint32", "float16", "float32", "float64"]))
@settings(deadline=None)
def test_tiff_of_other_sample_formats(pixels, orientation, kind):
    whole, real = as_stored(pixels, orientation).astype(np.int64), as_stored(pixels, orientation) / 255
    samples = {
        "int8": whole - 128, "int16": whole * 257 - 32768, "uint32": whole * 16_843_009,
        "float16": real, "float32": real * 4095, "float64": real,
    }[kind]  # fmt: skip
    check(tiff_file(samples.astype(kind), orientation=orientation, photometric="rgb"), pixels)


@given(pictures(), ORIENTATIONS, st.sampled_from(["PNG", "WEBP", "BMP", "PPM", "GIF", "JPEG2000"]))
@settings(deadline=None)
def test_lossless_8_bit_files(pixels, orientation, kind):
    if kind in ("PNG", "WEBP"):
        lossless = {"lossless": True} if kind == "WEBP" else {}
        check(saved(as_stored(pixels, orientation), kind, orientation=orientation, **lossless), pixels, most=0)
    elif kind == "GIF":
        few = pixels // 128 * 255  # eight colours: a palette has room for them
        check(saved(few, kind), few, most=0)
    else:
        check(saved(pixels, kind), pixels, most=0)


@given(pictures(), ORIENTATIONS)
@settings(deadline=None)
def test_jpeg(pixels, orientation):
    large = np.kron(pixels, np.ones((8, 8, 1), np.uint8))
    data = saved(as_stored(large, orientation), "JPEG", orientation=orientation, quality=100, subsampling=0)
    check(data, large, most=4)  # what a JPEG loses in its colours; the squares lie on its blocks


@given(pictures(grey=True), DEPTHS, st.booleans())
@settings(deadline=None)
def test_dicom(pixels, bits, inverted):
    samples = deepened(pixels[:, :, 0], bits)
    stored = (2**bits - 1 - samples).astype(samples.dtype) if inverted else samples
    check(dicom_file(stored, kind="MONOCHROME1" if inverted else "MONOCHROME2", bits=bits), pixels)


@given(pictures())
@settings(deadline=None)
def test_deep_colours_packed_with_lzw(pixels):
    samples = deepened(pixels, 12)
    data = tiff_of(*reversed(samples.shape[:2]), segment=lzw(samples.astype("<u2").tobytes()), packing=5)
    check(data, pixels)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_half_transparent_parts_are_laid_on_white_at_every_depth(kind):
    pixels = np.full((4, 5, 3), 100, np.uint8)
    pixels[0, 0] = 255
    opacity = np.full((4, 5, 1), 255, np.uint8)
    opacity[2:] = 51
    expected = pixels.copy()
    expected[2:] = round(100 * 0.2 + 255 * 0.8)
    for bits in (8, 10, 12, 14, 16):
        clear = opacity if bits == 8 else opacity.astype(np.uint16) * 257
        samples = np.dstack([deepened(pixels, bits), clear])
        tiff = {"photometric": "rgb", "extrasamples": ["unassalpha"]}
        data = png_file(samples) if kind == "PNG" else tiff_file(samples, **tiff)
        check(data, expected)


def test_colours_that_are_multiplied_with_their_opacity():
    deep = np.array([[[65535, 65535, 65535, 65535], [20000, 10000, 5000, 32768]]], np.uint16)
    data = tiff_file(deep, photometric="rgb", extrasamples=["assocalpha"])
    expected = np.array([[[255] * 3, [round((c + 32767) / 257) for c in (20000, 10000, 5000)]]], np.uint8)
    check(data, expected)


def test_a_colour_that_is_transparent_in_a_deep_png():
    samples = np.zeros((2, 2, 3), np.uint16)
    samples[0] = [[65535, 0, 0], [256, 255, 254]]  # the second differs from the third in its lower bytes only
    samples[1] = [[256, 255, 253], [0, 0, 0]]
    data = png_file(samples)
    place = data.index(b"IDAT") - 4
    clear = data[:place] + png_chunk(b"tRNS", samples[0, 1].astype(">u2").tobytes()) + data[place:]
    assert decode_rgb(clear)[0, 1].tolist() == [255, 255, 255]
    assert decode_rgb(clear)[1, 0].tolist() == [1, 1, 1]


def test_a_bmp_of_32_bits_whose_fourth_byte_is_empty():
    pixels = np.random.default_rng(0).integers(0, 256, (6, 5, 3), dtype=np.uint8)
    body = np.dstack([pixels[:, :, ::-1], np.zeros((6, 5), np.uint8)])[::-1].tobytes()
    masks = b"".join(mask.to_bytes(4, "little") for mask in (0xFF0000, 0xFF00, 0xFF, 0xFF000000))
    head = b"".join(size.to_bytes(4, "little") for size in (108, 5, 6)) + b"\1\0\x20\0\3\0\0\0"
    head += len(body).to_bytes(4, "little") + bytes(16) + masks + b"BGRs" + bytes(48)
    data = (
        b"BM" + (14 + len(head) + len(body)).to_bytes(4, "little") + bytes(4) + (14 + len(head)).to_bytes(4, "little")
    )
    check(data + head + body, pixels, most=0)


def test_cmyk_of_16_bits_is_as_of_8():
    inks = np.random.default_rng(0).integers(0, 256, (6, 5, 4), dtype=np.uint8)
    inks[0, 0] = 255
    shallow = decode_rgb(tiff_file(inks, photometric="separated"))
    for bits in (12, 16):
        check(tiff_file(deepened(inks, bits), photometric="separated"), shallow)


@pytest.mark.parametrize("bits", [10, 12])
def test_grey_of_12_bits_without_gaps_and_others_by_name(bits):
    values = deepened(np.arange(256, dtype=np.uint8).reshape(16, 16), bits)
    rows = "".join(f"{value:0{bits}b}" for value in values.ravel())
    packed = bytes(int(rows[place : place + 8], 2) for place in range(0, len(rows), 8))
    fields = [
        (256, 16),
        (257, 16),
        (258, bits),
        (259, 1),
        (262, 1),
        (273, 200),
        (277, 1),
        (278, 16),
        (279, len(packed)),
    ]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in fields)
    head = b"II*\0" + struct.pack("<IH", 8, len(fields)) + entries + bytes(4)
    data = head.ljust(200, b"\0") + packed
    if bits == 12:
        check(data, np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2))
    else:
        with pytest.raises(UnreadableImageError, match="10 bits without gaps: save it with 16 bits a channel"):
            decode_rgb(data)


def test_a_deep_ppm():
    pixels = np.random.default_rng(0).integers(0, 256, (6, 5, 3), dtype=np.uint8)
    pixels[0, 0] = 255
    for bits in (12, 16):
        data = b"P6 5 6 65535\n" + deepened(pixels, bits).astype(">u2").tobytes()
        check(data, pixels)
    check(b"P6 5 6 4095\n" + deepened(pixels, 12).astype(">u2").tobytes(), pixels)


def test_a_masked_background_is_refused_or_taken_as_black():
    pixels = np.tile(np.arange(0, 256, 5, dtype=np.uint8)[:, None], (1, 7))
    masked = (pixels / 255).astype(np.float32)
    masked[:3] = np.nan
    data = tiff_file(masked, photometric="minisblack")
    with pytest.raises(UnreadableImageError, match=r"not finite .*give --nan black"):
        decode_rgb(data)
    pixels[:3] = 0
    check(data, np.repeat(pixels[:, :, None], 3, axis=2), scaling=Scaling(nan="black"))


def test_a_window_is_the_same_for_every_deep_picture_and_leaves_shallow_ones():
    window = Scaling(window=(1000, 2000))
    deep = np.full((3, 3), 1500, np.uint16)
    assert decode_rgb(tiff_file(deep, photometric="minisblack"), scaling=window)[0, 0].tolist() == [128] * 3
    assert decode_rgb(tiff_file(deep + 600, photometric="minisblack"), scaling=window)[0, 0].tolist() == [255] * 3
    assert decode_rgb(png_file(deep[:, :, None]), scaling=window)[0, 0].tolist() == [128] * 3
    shallow = np.full((3, 3, 3), 77, np.uint8)
    assert decode_rgb(png_file(shallow), scaling=window)[0, 0].tolist() == [77] * 3


def test_what_was_done_is_noted():
    pixels = np.full((3, 4, 3), 255, np.uint8)
    opacity = np.zeros((3, 4, 1), np.uint16)
    with listening() as notes:
        decode_rgb(png_file(np.dstack([deepened(pixels, 12), opacity]), orientation=6))
    assert sorted(notes) == ["opacity of 0 everywhere ignored", "read as 12 bits", "turned as its orientation says"]
    with listening() as notes:
        decode_rgb(png_file(pixels))
    assert notes == []


def test_a_damaged_note_of_orientation_leaves_the_picture():
    pixels = np.full((3, 4, 3), 9, np.uint8)
    data = saved(pixels, "PNG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff broken")
    check(data, pixels, most=0)


def test_an_animation_is_refused_and_a_camera_s_second_picture_is_not_looked_at():
    frames = [Image.new("RGB", (16, 16), (i * 20, 0, 0)) for i in range(4)]
    for kind in ("GIF", "PNG", "WEBP"):
        buffer = io.BytesIO()
        frames[0].save(buffer, kind, save_all=True, append_images=frames[1:])
        with pytest.raises(UnreadableImageError, match=rf"an animation \({kind}\): save the frame that is meant"):
            decode_rgb(buffer.getvalue())
    buffer = io.BytesIO()
    frames[0].save(buffer, "MPO", save_all=True, append_images=frames[1:])
    with listening() as notes:
        assert decode_rgb(buffer.getvalue()).max() <= 2
    assert notes == ["the first of several pictures in one file"]


def test_a_deep_colour_jpeg_2000_is_refused_not_cut():
    shallow = saved(np.full((8, 8, 3), 9, np.uint8), "JPEG2000")
    size = shallow.index(b"\xff\x4f\xff\x51")
    deep = bytearray(shallow)
    deep[size + 42 : size + 51 : 3] = bytes([11] * 3)  # 12 bits each
    with pytest.raises(UnreadableImageError, match="JPEG 2000 of 3 channels of 12 bits: save it as PNG or TIFF"):
        decode_rgb(bytes(deep))
