"""Every kind of picture becomes RGB uint8, or a reason why not."""

import io

import numpy as np
import pytest
import tifffile
from fakes.raw_images import encoded, picture
from PIL import Image

from mdhfl.preprocessing.raw.cropping import crop_side, parse_crops, square
from mdhfl.preprocessing.raw.reading import array_rgb, decode_rgb
from mdhfl.preprocessing.raw.records import UnreadableImageError

RGB = Image.fromarray(picture(0))


@pytest.mark.parametrize(
    ("mode", "kind"),
    [("RGB", "PNG"), ("L", "PNG"), ("1", "PNG"), ("LA", "PNG"), ("P", "PNG"), ("RGBA", "TIFF"), ("CMYK", "JPEG"),
     ("CMYK", "TIFF"), ("YCbCr", "JPEG"), ("P", "GIF"), ("RGB", "BMP"), ("RGB", "WEBP"), ("I", "TIFF"), ("F", "TIFF")],
)  # fmt: skip
def test_every_mode_becomes_rgb(mode, kind):
    pixels = decode_rgb(encoded(RGB.convert(mode), kind))
    assert pixels.shape == (20, 24, 3)
    assert pixels.dtype == np.uint8


def test_a_plain_png_keeps_its_pixels():
    assert (decode_rgb(encoded(RGB)) == picture(0)).all()


def test_an_opaque_or_empty_alpha_channel_changes_nothing_and_clear_parts_are_white():
    opaque = RGB.copy()
    opaque.putalpha(255)
    assert (decode_rgb(encoded(opaque, "TIFF")) == picture(0)).all()
    clear = RGB.copy()
    clear.putalpha(0)
    assert (decode_rgb(encoded(clear)) == picture(0)).all()
    clear.putalpha(Image.fromarray(np.repeat([[0], [255]], 10, axis=0).astype(np.uint8).repeat(24, axis=1)))
    assert (decode_rgb(encoded(clear))[:10] == 255).all()
    assert (decode_rgb(encoded(clear))[10:] == picture(0)[10:]).all()


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bits_are_scaled_by_their_depth(kind):
    deep = np.linspace(1000, 4095, 20 * 24).reshape(20, 24).astype(np.uint16)  # 12 bits in a 16-bit file
    pixels = decode_rgb(encoded(Image.fromarray(deep), kind))
    assert (pixels.min(), pixels.max()) == (round(1000 * 255 / 4095), 255)
    assert (pixels[..., 0] == pixels[..., 2]).all()


def test_16_bits_in_three_channels():
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, picture(0).astype(np.uint16) * 16, photometric="rgb")  # 12 bits: 8 of 16 would be dark
    pixels = decode_rgb(buffer.getvalue())
    assert pixels.shape == (20, 24, 3)
    assert np.abs(pixels.astype(int) - picture(0).astype(int)).max() <= 1


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", r"empty file \(0 bytes\)"),
        (b"these are words", "not a recognised image"),
        (encoded(RGB, "JPEG")[:300], "damaged or truncated|not an image"),
        (encoded(RGB)[:200], "damaged or truncated"),
        (encoded(RGB, "TIFF")[:100], "damaged|not a recognised image"),
        (b"II*\x00" + bytes(40), "damaged|not a recognised image"),
        (b"\x89PNG\r\n\x1a\n" + bytes(50), "damaged|not a recognised image"),
    ],
)
def test_what_cannot_be_read_gives_a_reason(data, reason):
    with pytest.raises(UnreadableImageError, match=reason):
        decode_rgb(data)


def test_arrays_of_every_shape():
    grey = np.arange(48, dtype=np.uint8).reshape(6, 8)
    assert (array_rgb(grey) == array_rgb(grey[:, :, None])).all()
    assert array_rgb(grey.astype(np.float32) / 47).max() == 255
    assert array_rgb(np.full((4, 4), 7, dtype=np.int16)).max() == 7
    assert array_rgb(np.full((4, 4), -7, dtype=np.int16)).max() == 121
    assert array_rgb(np.dstack([grey, grey, grey, grey * 0])).tolist() == array_rgb(grey).tolist()
    for bad in (np.zeros((2, 3, 5)), np.zeros(4), np.zeros((0, 4)), np.full((3, 3), np.nan)):
        with pytest.raises(UnreadableImageError):
            array_rgb(bad)


@pytest.mark.parametrize(("crop", "side"), [(None, 20), (1, 20), (0.5, 10), (12, 12), (99, 20), (0.001, 1)])
def test_the_side_of_a_crop(crop, side):
    assert crop_side(20, 24, crop) == side


def test_the_centre_is_kept_and_a_resize_averages():
    pixels = np.zeros((30, 40, 3), dtype=np.uint8)
    pixels[10:20, 15:25] = 200
    assert (square(pixels, crop=10, size=10) == 200).all()
    stripes = np.zeros((64, 64, 3), dtype=np.uint8)
    stripes[:, ::2] = 255
    small = square(stripes, crop=None, size=8)  # without antialiasing: all black or all white
    assert np.abs(small.astype(int) - 127).max() < 25


def test_crops_by_source():
    assert parse_crops(("0.8", "matek19=200")) == {"": 0.8, "matek19": 200.0}
    for bad in ("x", "0", "-1", "matek19=", "nan"):
        with pytest.raises(ValueError, match="crop"):
            parse_crops((bad,))
