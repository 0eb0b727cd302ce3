"""TIFFs of several pages and channels: joined where they are declared to be one picture, else refused by name."""

import numpy as np
import pytest
import tifffile
from fakes.picture_files import tiff_file
from fakes.raw_images import picture

from mdhfl.preprocessing.raw.notes import listening
from mdhfl.preprocessing.raw.reading import decode_rgb
from mdhfl.preprocessing.raw.records import UnreadableImageError

PIXELS = picture(0)
CHANNELS = np.ascontiguousarray(np.moveaxis(PIXELS, -1, 0))
OME = {"ome": True, "photometric": "minisblack"}


@pytest.mark.parametrize(
    ("samples", "options"),
    [
        (CHANNELS[None], {"imagej": True, "metadata": {"axes": "ZCYX"}}),
        (CHANNELS, {"imagej": True, "metadata": {"axes": "CYX"}}),
        (CHANNELS, {**OME, "metadata": {"axes": "CYX"}}),
        (CHANNELS[None, :, None], {**OME, "metadata": {"axes": "TCZYX"}}),
        (CHANNELS, {"photometric": "minisblack", "metadata": {"axes": "CYX"}}),
        (CHANNELS, {"photometric": "minisblack", "planarconfig": "separate"}),
        (PIXELS, {"photometric": "minisblack", "planarconfig": "contig"}),
        (PIXELS, {"ome": True, "photometric": "rgb", "metadata": {"axes": "YXS"}}),
    ],
)
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_channels_are_joined(samples, options, kind):
    deep = samples.astype(kind) * (16 if kind == np.uint16 else 1)
    with listening() as notes:
        pixels = decode_rgb(tiff_file(deep, **options))
    assert np.abs(pixels.astype(int) - PIXELS).max() <= 1
    joined = options.get("planarconfig") is None and options.get("photometric") != "rgb"
    assert ("3 pages joined as channels" in notes) == joined


@pytest.mark.parametrize(
    ("samples", "options", "reason"),
    [
        (CHANNELS, {"photometric": "minisblack"}, "a TIFF of 3 pages, not declared as channels of one picture: save"),
        (CHANNELS, {"imagej": True, "metadata": {"axes": "ZYX"}}, "a stack of 3 pictures: save the one that is meant"),
        (CHANNELS, {"imagej": True, "metadata": {"axes": "TYX"}}, "a stack of 3 pictures"),
        (CHANNELS[:2], {"imagej": True, "metadata": {"axes": "CYX"}}, "2 pages that are channels: expected 3 grey"),
        (CHANNELS, {**OME, "metadata": {"axes": "ZYX"}}, "a stack of 3 pictures"),
        (np.stack([CHANNELS] * 2), {**OME, "metadata": {"axes": "TCYX"}}, "a stack of 2 pictures"),
        (np.stack([PIXELS] * 4), {"photometric": "rgb"}, "a TIFF of 4 pages"),
        (CHANNELS[:2], {"photometric": "minisblack", "planarconfig": "separate"}, "a TIFF of 2 channel"),
        (np.zeros((5, 8, 9), np.uint16), {"photometric": "minisblack", "planarconfig": "separate"}, "5 channel"),
        (PIXELS, {"photometric": "cielab"}, None),
        (PIXELS.astype(np.uint16), {"photometric": "cielab"}, "photometric interpretation 8: expected grey"),
        (PIXELS[:, :, 0].astype(np.complex64), {"photometric": "minisblack"}, "expected whole or real numbers"),
        (np.zeros((3, 16, 16), np.uint8), {"volumetric": True, "photometric": "minisblack", "tile": (1, 16, 16)},
         "a volume of 3 slices: save the one that is meant"),
    ],
)  # fmt: skip
def test_what_is_not_one_picture_is_refused_by_name(samples, options, reason):
    data = tiff_file(samples, **options)
    if reason is None:
        assert decode_rgb(data).shape == (20, 24, 3)
        return
    with pytest.raises(UnreadableImageError, match=reason):
        decode_rgb(data)


def test_channels_in_other_files_are_missed(tmp_path):
    text = tifffile.OmeXml()
    text.addimage("uint8", (3, 20, 24), (3, 1, 1, 20, 24, 1), axes="CYX")
    data = tiff_file(PIXELS[:, :, 0], description=text.tostring(), metadata=None)
    with pytest.raises(UnreadableImageError, match=r"declares 3 channels, but holds 1 page"):
        decode_rgb(data)


def test_smaller_copies_are_no_pictures(tmp_path):
    path = tmp_path / "x.tif"
    with tifffile.TiffWriter(path) as file:
        file.write(PIXELS[::2, ::2], photometric="rgb", subfiletype=1, metadata=None)
        file.write(PIXELS, photometric="rgb", metadata=None)
    assert (decode_rgb(path.read_bytes()) == PIXELS).all()
    with tifffile.TiffWriter(path) as file:
        file.write(PIXELS[::2, ::2].astype(np.uint16), photometric="rgb", subfiletype=1, metadata=None)
        file.write(PIXELS.astype(np.uint16) * 257, photometric="rgb", metadata=None)
    assert (decode_rgb(path.read_bytes()) == PIXELS).all()
