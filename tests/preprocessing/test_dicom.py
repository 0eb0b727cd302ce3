"""DICOM: rescaled, windowed, the right way round; refused by name where it cannot be; no patient's tag anywhere."""

import io
import struct

import numpy as np
import pytest
from fakes.bombs import measured
from fakes.dicom_files import SECRETS, dicom_file
from fakes.raw_images import encoded, picture, write_files
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    RLELossless,
)

from mdhfl.preprocessing.arguments import PrepareArguments
from mdhfl.preprocessing.prepare import prepare
from mdhfl.preprocessing.raw.limits import Limits
from mdhfl.preprocessing.raw.reading import decode_rgb
from mdhfl.preprocessing.raw.records import UnreadableImageError
from mdhfl.preprocessing.raw.scaling import Scaling

GREY = picture(0)[:, :, 0]
READING = "import pydicom\nfrom mdhfl.preprocessing.raw.reading import decode_rgb"
DECODE = "decode_rgb(Path(sys.argv[1]).read_bytes()).shape"


def difference(data: bytes, expected: np.ndarray, **options: object) -> int:
    """The largest difference in grey levels."""
    pixels = decode_rgb(data, **options)
    wanted = expected if expected.ndim == 3 else np.repeat(expected[:, :, None], 3, axis=2)
    assert pixels.shape == wanted.shape
    return int(np.abs(pixels.astype(int) - wanted.astype(int)).max())


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("inverted", [False, True])
def test_a_depth_that_the_file_states(bits, inverted):
    most = 2**bits - 1
    deep = np.rint(GREY * (most / 255)).astype(np.uint8 if bits == 8 else np.uint16)
    stored = (most - deep).astype(deep.dtype) if inverted else deep
    assert difference(dicom_file(stored, kind=f"MONOCHROME{2 - inverted}", bits=bits), GREY) <= 1


def test_a_dark_picture_of_a_stated_depth_stays_dark():
    dark = (GREY // 8).astype(np.uint16) * 16  # below 1024 of 4095
    assert difference(dicom_file(dark, bits=12), GREY // 8) <= 1


def test_hounsfield_units_with_the_file_s_window_and_with_a_given_one():
    hounsfield = GREY.astype(np.int32) * 10 - 1000
    data = dicom_file((hounsfield + 1024).astype(np.uint16), bits=12, RescaleIntercept=-1024, RescaleSlope=1,
                      WindowCenter=40, WindowWidth=400)  # fmt: skip
    shown = np.clip((hounsfield - (40 - 0.5 - 199.5)) * 255 / 399, 0, 255)
    assert difference(data, np.rint(shown)) <= 1
    given = np.clip((hounsfield + 1000) * 255 / 1600, 0, 255)
    assert difference(data, np.rint(given), scaling=Scaling(window=(-1000, 600))) <= 1


def test_several_windows_an_exact_one_and_a_falling_slope():
    exact = dicom_file(GREY, WindowCenter=[127.5, 1], WindowWidth=[255, 2], VOILUTFunction="LINEAR_EXACT")
    assert difference(exact, GREY) <= 1
    assert difference(dicom_file(GREY, RescaleSlope=-1, RescaleIntercept=255), 255 - GREY) == 0
    falling = dicom_file(GREY, RescaleSlope=-1, RescaleIntercept=255, WindowCenter=128, WindowWidth=256)
    assert difference(falling, 255 - GREY) <= 1
    with pytest.raises(UnreadableImageError, match="a SIGMOID window: give a linear one with --window"):
        decode_rgb(dicom_file(GREY, WindowCenter=1, WindowWidth=2, VOILUTFunction="SIGMOID"))


def test_signed_values_keep_their_order_and_negative_ones_their_place():
    signed = (GREY.astype(np.int32) * 257 - 32768).astype(np.int16)
    assert difference(dicom_file(signed), GREY) <= 1


def test_a_window_in_the_groups_of_an_enhanced_file():
    window, groups = Dataset(), Dataset()
    window.WindowCenter, window.WindowWidth = 2048, 4096
    groups.FrameVOILUTSequence = [window]
    deep = (GREY.astype(np.uint16) * 16).astype(np.uint16)
    assert difference(dicom_file(deep, SharedFunctionalGroupsSequence=[groups], NumberOfFrames=1), GREY) <= 1


def test_colours_palettes_and_their_transfer_syntaxes():
    assert difference(dicom_file(picture(0), kind="RGB"), picture(0)) == 0
    yellow_blue = np.array(Image.fromarray(picture(0)).convert("YCbCr"))
    back = np.array(Image.frombytes("YCbCr", (24, 20), yellow_blue.tobytes()).convert("RGB"))
    assert difference(dicom_file(yellow_blue, kind="YBR_FULL"), back) <= 1
    table = (np.arange(256)[::-1] * 257).astype("<u2")
    names = {f"{name}PaletteColorLookupTable{end}": table.tobytes() if end == "Data" else [256, 0, 16]
             for name in ("Red", "Green", "Blue") for end in ("Descriptor", "Data")}  # fmt: skip
    assert difference(dicom_file(GREY, kind="PALETTE COLOR", **names), 255 - GREY) <= 1
    for syntax in (ImplicitVRLittleEndian, ExplicitVRBigEndian):
        assert difference(dicom_file(GREY, syntax=syntax), GREY) == 0
    jpeg = io.BytesIO()
    smooth = np.kron(picture(0)[::4, ::4], np.ones((4, 4, 1), np.uint8))
    Image.fromarray(smooth).save(jpeg, "JPEG", quality=100, subsampling=0)
    assert difference(dicom_file(smooth, kind="YBR_FULL_422", syntax=JPEGBaseline8Bit, frame=jpeg.getvalue()),
                      smooth) <= 3  # fmt: skip
    wavelets = encoded(Image.fromarray(picture(0)), "JPEG2000")
    assert difference(dicom_file(picture(0), kind="YBR_RCT", syntax=JPEG2000Lossless, frame=wavelets), picture(0)) == 0
    runs = struct.pack("<16I", 1, 64, *[0] * 14) + b"".join(bytes([23]) + row.tobytes() for row in GREY)
    assert difference(dicom_file(GREY, syntax=RLELossless, frame=runs), GREY) == 0


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: dicom_file(GREY, syntax=JPEGLosslessSV1, frame=b"x"), "compressed with JPEG Lossless.*gdcmconv --raw"),
        (lambda: dicom_file(GREY, syntax=DeflatedExplicitVRLittleEndian), "a deflated DICOM file: save it"),
        (lambda: dicom_file(GREY, NumberOfFrames=7), "7 frames: save the one that is meant"),
        (lambda: dicom_file(GREY, kind="CMYK"), "neither grey nor RGB"),
        (lambda: dicom_file(GREY)[:-100], r"damaged or unknown DICOM \(\w+\)$"),
        (lambda: bytes(128) + b"DICM", "DICOM"),
        (lambda: dicom_file(GREY, Rows=60_000, Columns=60_000), "limit is 50,000,000 pixels, got 3,600,000,000"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_by_name(make, reason):
    with pytest.raises(UnreadableImageError, match=reason) as caught:
        decode_rgb(make())
    assert not [secret for secret in SECRETS if secret in str(caught.value)]


def test_limits_hold_for_packed_frames(tmp_path):
    runs = struct.pack("<16I", 1, 64, *[0] * 14) + bytes([129, 0]) * (20 << 20)  # 5 GB
    huge = io.BytesIO()
    Image.new("L", (9000, 9000)).save(huge, "JPEG")
    for syntax, frame, reason in ((RLELossless, runs, "bytes in a channel"), (JPEGBaseline8Bit, huge.getvalue(), "")):
        (tmp_path / "x.dcm").write_bytes(dicom_file(GREY, syntax=syntax, frame=frame))
        grown, said = measured(DECODE, tmp_path / "x.dcm", imports=READING)
        assert said.startswith("UnreadableImageError: ")
        assert reason in said
        assert grown < 250
    with pytest.raises(UnreadableImageError, match="limit is 479 pixels, got 480; raise it with --max-pixels"):
        decode_rgb(dicom_file(GREY), limits=Limits(max_pixels=479))


def test_no_tag_of_a_patient_is_copied_anywhere(tmp_path, caplog, recwarn):
    files = {
        f"{name}/{i}.dcm": dicom_file(picture(10 * i + k)[:, :, 0]) for k, name in enumerate("ab") for i in range(9)
    }
    files["a/bad.dcm"] = dicom_file(GREY)[:-99]
    raw = write_files(tmp_path / "raw", files)
    arguments = PrepareArguments("folder", out=tmp_path / "fed", raw=raw, sites=2, minimum=2, image_size=8)
    prepare(arguments, workers=1)
    written = [path for path in (tmp_path / "fed").rglob("*") if path.is_file()]
    assert len(written) > 20
    for secret in SECRETS:
        assert not [path for path in written if secret.encode() in path.read_bytes()]
        assert secret not in caplog.text + "".join(str(each.message) for each in recwarn)


def test_tables_instead_of_slopes_and_windows():
    def table(values):
        item = Dataset()
        item.LUTDescriptor = [256, 0, 16]
        item.LUTData = values.astype("<u2").tobytes()
        item["LUTData"].VR = "OW"
        item.ModalityLUTType = "US"
        return [item]

    falling = np.arange(256)[::-1] * 257
    assert difference(dicom_file(GREY, VOILUTSequence=table(falling)), 255 - GREY) <= 1
    rescaled = dicom_file(GREY, ModalityLUTSequence=table(falling), WindowCenter=32768, WindowWidth=65536)
    assert difference(rescaled, 255 - GREY) <= 1
