"""DICOM files of one frame: grey, palette or colour. Of their tags only those that describe pixels are read."""

import io
from typing import TYPE_CHECKING, Any

import numpy as np

from mdhfl_decoding.limits import Limits, too_large
from mdhfl_decoding.notes import note
from mdhfl_decoding.pixels import Pixels, Samples, UnreadableImageError
from mdhfl_decoding.scaling import Scaling, to_bytes
from mdhfl_decoding.sizes import check_pixels, check_samples

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

PREAMBLE, MAGIC = 128, b"DICM"
COLOURS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
TAGS = [
    "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "NumberOfFrames", "Rows", "Columns",
    "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "RescaleSlope", "RescaleIntercept",
    "ModalityLUTSequence", "WindowCenter", "WindowWidth", "VOILUTFunction", "VOILUTSequence",
    "RedPaletteColorLookupTableDescriptor", "GreenPaletteColorLookupTableDescriptor",
    "BluePaletteColorLookupTableDescriptor", "RedPaletteColorLookupTableData", "GreenPaletteColorLookupTableData",
    "BluePaletteColorLookupTableData", "SegmentedRedPaletteColorLookupTableData",
    "SegmentedGreenPaletteColorLookupTableData", "SegmentedBluePaletteColorLookupTableData",
    "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
    "PixelData", "FloatPixelData", "DoubleFloatPixelData",
]  # fmt: skip
DEFLATED, RLE, JPEG = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.5"
SCAN, MOST_SCANS = b"\xff\xda", 500  # of a JPEG: each goes over the whole picture, however short it is
SLACK = 1 << 10  # bytes that a packed channel may be longer than its pixels
SMALLEST_WINDOW = 1e-6


def is_dicom(data: bytes) -> bool:
    """Whether a file is DICOM with its usual beginning."""
    return data[PREAMBLE : PREAMBLE + len(MAGIC)] == MAGIC


def rgb_of(data: bytes, *, limits: Limits, scaling: Scaling) -> Pixels:
    """Decode a DICOM file of one frame.

    Grey values are rescaled, then windowed: by `scaling`'s window, else by the file's own first one, else by its
    depth. MONOCHROME1 is turned, so that 0 is black.

    Returns:
        (height, width, 3) uint8, as stored: no tag of the patient's position is looked at.

    Raises:
        UnreadableImageError: too large, several frames, no picture, or compressed in a way that cannot be decoded. The
            reason never has a tag's value that could be the patient's.
    """
    try:
        import pydicom
    except ImportError:
        raise UnreadableImageError(
            "a DICOM file: install pydicom to read it (pip install 'mdhfl[dicom]', or pydicom alone)"
        ) from None
    try:
        _check_packing(data)
        head = pydicom.dcmread(io.BytesIO(data), specific_tags=list(TAGS), stop_before_pixels=True)
        _check(head, limits=limits)
        dataset = pydicom.dcmread(io.BytesIO(data), specific_tags=list(TAGS))
        _check_frame(dataset, data=data)
        return _rgb(dataset, _unpacked(dataset), scaling=scaling)
    except (UnreadableImageError, MemoryError):
        raise
    except Exception as error:  # whatever pydicom raises on damaged files; its text may quote a tag
        raise UnreadableImageError(f"damaged or unknown DICOM ({type(error).__name__})") from None


def _check_packing(data: bytes) -> None:
    """Refuse what is packed as a whole: pydicom would unpack it, however long."""
    from pydicom.filereader import _read_file_meta_info

    stream = io.BytesIO(data)
    stream.seek(PREAMBLE + len(MAGIC))
    if str(_read_file_meta_info(stream).get("TransferSyntaxUID", "")) == DEFLATED:
        raise UnreadableImageError("a deflated DICOM file: save it uncompressed (dcmconv --write-xfer-little)")


def _check(head: "Dataset", *, limits: Limits) -> None:
    from pydicom.pixels.decoders.base import get_decoder

    if "Rows" not in head or "Columns" not in head or "PhotometricInterpretation" not in head:
        raise UnreadableImageError("a DICOM file without a picture")
    frames = int(head.get("NumberOfFrames") or 1)
    if frames != 1:
        raise UnreadableImageError(f"a DICOM file of {frames} frames: save the one that is meant as a file of its own")
    pixels, channels = int(head.Rows) * int(head.Columns), int(head.get("SamplesPerPixel", 1))
    check_pixels(pixels, limits=limits)
    check_samples(pixels * channels * max(1, int(head.BitsAllocated) // 8), limits=limits)
    syntax = head.file_meta.TransferSyntaxUID
    if syntax.is_compressed and not get_decoder(syntax).is_available:
        raise UnreadableImageError(
            f"a DICOM file compressed with {syntax.name}: decompress it (gdcmconv --raw, dcmdjpeg), or install "
            "pylibjpeg with its plugins"
        )


def _check_frame(dataset: "Dataset", *, data: bytes) -> None:
    """Refuse a packed frame that is longer than its pixels, or takes for ever."""
    from pydicom.encaps import get_frame

    syntax = str(dataset.file_meta.TransferSyntaxUID)
    if syntax == RLE:
        frame = get_frame(dataset.PixelData, 0, number_of_frames=1)
        _check_rle(frame, most=int(dataset.Rows) * int(dataset.Columns) + SLACK)
    if syntax.startswith(JPEG) and (scans := data.count(SCAN)) > MOST_SCANS:
        raise UnreadableImageError(too_large(scans, limit=MOST_SCANS, unit="scans in a JPEG"))


def _check_rle(frame: bytes, *, most: int) -> None:
    """Count what the runs of each channel unpack to: pydicom would unpack them whole, however long."""
    number = int.from_bytes(frame[:4], "little")
    starts = [int.from_bytes(frame[4 + 4 * i : 8 + 4 * i], "little") for i in range(min(number, 15))]
    for start, stop in zip(starts, [*starts[1:], len(frame)], strict=False):
        place, length = start, 0
        while place < min(stop, len(frame)):
            count = frame[place]
            place += count + 2 if count < 128 else 2 if count > 128 else 1
            length += count + 1 if count < 128 else 257 - count if count > 128 else 0
            if length > most:
                raise UnreadableImageError(too_large(length, limit=most, unit="bytes in a channel of a DICOM file"))


def _unpacked(dataset: "Dataset") -> Samples:
    """The samples as stored, colours as RGB."""
    from pydicom.pixels.processing import apply_color_lut
    from pydicom.pixels.utils import pixel_array

    kind = str(dataset.PhotometricInterpretation)
    samples = pixel_array(dataset)
    if kind == "PALETTE COLOR":
        return apply_color_lut(samples, dataset)
    grey = kind in ("MONOCHROME1", "MONOCHROME2") and samples.ndim == 2
    if not grey and not (kind in COLOURS and samples.ndim == 3):
        raise UnreadableImageError("a DICOM file that is neither grey nor RGB: save it as PNG")
    return samples


def _rgb(dataset: "Dataset", samples: Samples, *, scaling: Scaling) -> Pixels:
    if samples.ndim == 3:
        return np.ascontiguousarray(samples if samples.dtype == np.uint8 else to_bytes(samples))
    grey = _grey(dataset, samples, scaling=scaling)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        grey = 255 - grey
    return np.repeat(grey[:, :, None], 3, axis=2)


def _grey(dataset: "Dataset", samples: Samples, *, scaling: Scaling) -> Pixels:
    """Windowed, 0 for the lowest value that the window shows."""
    from pydicom.pixels.processing import apply_modality_lut, apply_voi

    slope, intercept = 1.0, 0.0
    if "ModalityLUTSequence" in dataset:
        samples = apply_modality_lut(samples, dataset)
    else:
        slope = float(_found(dataset, "RescaleSlope", group="PixelValueTransformationSequence") or 1)
        intercept = float(_found(dataset, "RescaleIntercept", group="PixelValueTransformationSequence") or 0)
    window = scaling.window or _own_window(dataset)
    if window is not None:  # in stored values: so nothing has to be rescaled
        low, high = ((end - intercept) / slope for end in window)
        return to_bytes(samples, scaling=Scaling(window=(low, high), nan=scaling.nan))
    if "VOILUTSequence" in dataset:
        note("windowed by the file's own table")
        shown = apply_voi(samples if slope == 1 and intercept == 0 else samples * slope + intercept, dataset)
        return to_bytes(shown, bits=int(dataset.VOILUTSequence[0].LUTDescriptor[2]))
    stored, signed = int(dataset.BitsStored), bool(dataset.PixelRepresentation)
    if samples.dtype == np.uint8 and stored == 8:
        return 255 - samples if slope < 0 else samples
    stated = stored if stored % 8 and not signed else None
    grey = to_bytes(samples, scaling=scaling, bits=stated)
    return 255 - grey if slope < 0 else grey


def _own_window(dataset: "Dataset") -> tuple[float, float] | None:
    """The file's first window as the values that it shows black and white (PS3.3, C.11.2.1.2 and C.11.2.1.3)."""
    centre, width = (_found(dataset, f"Window{name}", group="FrameVOILUTSequence") for name in ("Center", "Width"))
    if centre is None or width is None:
        return None
    kind = str(_found(dataset, "VOILUTFunction", group="FrameVOILUTSequence") or "LINEAR")
    if kind not in ("LINEAR", "LINEAR_EXACT"):
        raise UnreadableImageError(f"a DICOM file with a {kind[:16]} window: give a linear one with --window LOW,HIGH")
    exact = kind == "LINEAR_EXACT"
    middle = float(centre) - (0 if exact else 0.5)
    half = max(SMALLEST_WINDOW, (float(width) - (0 if exact else 1)) / 2)
    note("windowed by the file's own window")
    return middle - half, middle + half


def _found(dataset: "Dataset", name: str, *, group: str) -> Any:
    """A tag's first value, from the file or from what it says of its only frame; None if it is nowhere."""
    from pydicom.multival import MultiValue

    places = [dataset]
    for groups in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        for functional in dataset.get(groups) or []:
            places.extend(functional.get(group) or [])
    value: Any = next((place.get(name) for place in places if place.get(name) not in (None, "")), None)
    return value[0] if isinstance(value, MultiValue) else value
