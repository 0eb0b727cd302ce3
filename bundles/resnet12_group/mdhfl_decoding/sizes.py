"""Is one picture small enough? Asked before its pixels are unpacked."""

from mdhfl_decoding.limits import Limits, too_large
from mdhfl_decoding.pixels import UnreadableImageError


def check_pixels(pixels: int, *, limits: Limits) -> None:
    """Refuse a picture with more pixels than allowed.

    Raises:
        UnreadableImageError: with the limit and the option that raises it.
    """
    if pixels > limits.max_pixels:
        raise UnreadableImageError(too_large(pixels, limit=limits.max_pixels, unit="pixels", option="--max-pixels"))


def check_samples(size: int, *, limits: Limits) -> None:
    """Refuse a picture whose decoded samples take more bytes than allowed.

    Raises:
        UnreadableImageError: with the limit and the option that raises it.
    """
    if size > limits.samples:
        text = too_large(size, limit=limits.samples, unit="bytes of samples", option="--max-pixels")
        raise UnreadableImageError(text)


def out_of_memory() -> UnreadableImageError:
    """What is said of a picture that needs more memory than there is."""
    return UnreadableImageError("too large: it needs more memory than a process that reads pictures may take")


def check_number(number: int, *, unit: str, where: object, limits: Limits) -> None:
    """Refuse more files, members or pictures than allowed.

    Raises:
        ValueError: with the limit and the option that raises it.
    """
    if number > limits.max_files:
        text = too_large(number, limit=limits.max_files, unit=unit, option="--max-files")
        raise ValueError(f"raw data {where}: {text}")
