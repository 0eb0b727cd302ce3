"""From samples of any depth to 0..255: one rule for every kind of file."""

from dataclasses import dataclass

import numpy as np

from mdhfl_decoding.notes import note
from mdhfl_decoding.pixels import Pixels, Samples, UnreadableImageError

RULE = (
    "samples of 8 bits are kept; of deeper ones the smallest of 8, 10, 12, 14, 16 or 32 bits that holds the picture's "
    "largest is taken for its depth, and 0 to its end becomes 0 to 255 (real numbers: also 0 to 1); with --window, the "
    "same range for every picture"
)
DEPTHS = (8, 10, 12, 14, 16, 32)  # bits
ROUNDING = 1.001  # real numbers may exceed the end of their range by so much
REFUSE, BLACK = "refuse", "black"
NAN = (REFUSE, BLACK)
DEPTH = "read as "  # how a note of a depth begins
OWN_RANGE = "real numbers, each scaled from its own range"
BLOCK = 1 << 20  # samples that are scaled at once: all would take many times the picture's own memory


@dataclass(frozen=True)
class Scaling:
    """How a data set's deep samples become 0..255; the same for all its pictures.

    Attributes:
        window: the values that become 0 and 255; None: by `RULE`.
        percentiles: of a data set of volumes, that give its window once it is listed; None: its smallest and largest.
        nan: "refuse" a picture with values that are not finite, or take them as "black" (a masked background).
    """

    window: tuple[float, float] | None = None
    percentiles: tuple[float, float] | None = None
    nan: str = REFUSE


BY_RULE = Scaling()


def to_bytes(
    samples: Samples, *, scaling: Scaling = BY_RULE, bits: int | None = None, inverted: bool = False
) -> Pixels:
    """Scale samples to 0..255.

    Args:
        samples: of any shape; not for 8-bit pictures, which are right as they are.
        bits: their depth where the file states it.
        inverted: 0 is white, not black.

    Returns:
        uint8 of the same shape.

    Raises:
        UnreadableImageError: not real numbers, or values that are not finite and may not be taken as black.
    """
    if samples.dtype.kind not in "biuf":
        raise UnreadableImageError(f"expected whole or real numbers, got {samples.dtype}")
    low, high = _extremes(samples, nan=scaling.nan)
    if scaling.window is not None:
        low, high = scaling.window
    elif inverted and _fills(samples.dtype, high):  # turned first: what was dark may not fill its container
        most = _end(samples.dtype.itemsize * 8)
        depth = _range(most - high, most - low, dtype=samples.dtype, bits=bits)[1]
        return _scaled(samples, black=most, white=most - depth)
    else:
        low, high = _range(low, high, dtype=samples.dtype, bits=bits)
    return _scaled(samples, black=high if inverted else low, white=low if inverted else high)


def _scaled(samples: Samples, *, black: float, white: float) -> Pixels:
    """Scale linearly between the values that become 0 and 255, and clip; what is not finite becomes 0."""
    scaled = np.zeros(samples.shape, dtype=np.uint8)
    values, flat = samples.reshape(-1), scaled.reshape(-1)
    for start in range(0, len(values), BLOCK):
        block = values[start : start + BLOCK].astype(np.float64)
        block -= black
        block *= 255.0 / (white - black)
        block[~np.isfinite(block)] = 0
        flat[start : start + BLOCK] = np.clip(np.rint(block, out=block), 0, 255, out=block)
    return scaled


def _fills(dtype: np.dtype[np.generic], high: float) -> bool:
    """Whether whole numbers without sign need all bits of their container."""
    return dtype.kind == "u" and high > max(_end(depth) for depth in (1, *DEPTHS) if depth < dtype.itemsize * 8)


def _extremes(samples: Samples, *, nan: str) -> tuple[float, float]:
    """The smallest and the largest sample; of those that are finite, where others may be taken as black."""
    low, high = float(samples.min()), float(samples.max())
    if np.isfinite([low, high]).all():
        return low, high
    if nan != BLACK:
        raise UnreadableImageError(
            "contains values that are not finite (a masked background?): give --nan black to take them as black"
        )
    note("values that are not finite taken as black")
    finite = samples[np.isfinite(samples)]
    if finite.size == 0:
        raise UnreadableImageError("contains no finite value")
    return float(finite.min()), float(finite.max())


def _range(low: float, high: float, *, dtype: np.dtype[np.generic], bits: int | None) -> tuple[float, float]:
    """The range, by `RULE`, of a picture whose samples lie from `low` to `high`."""
    if dtype.kind == "f":
        return _real_range(low, high)
    if dtype.kind == "b":
        return 0, 1
    container = dtype.itemsize * 8
    most = container if dtype.kind == "u" else container - 1
    if low < 0:
        depths = [depth for depth in DEPTHS if depth < container] if bits is None else [bits]
        depth = next((depth for depth in depths if -(2 ** (depth - 1)) <= low and high < 2 ** (depth - 1)), container)
        note(f"{DEPTH}{depth} bits with sign")
        return -(2 ** (depth - 1)), 2 ** (depth - 1) - 1
    depths = [depth for depth in DEPTHS if depth < most] if bits is None else [bits]
    depth = next((depth for depth in depths if high <= _end(depth)), most)
    note(f"{DEPTH}{depth} bits")
    return 0, _end(depth)


def _real_range(low: float, high: float) -> tuple[float, float]:
    for name, end in (("0 to 1", 1), *((f"{depth} bits", _end(depth)) for depth in DEPTHS[:-1])):
        if low >= 0 and high <= end * ROUNDING:
            note(f"{DEPTH}real numbers, {name}")
            return 0, end
    if not np.isfinite(high - low):
        raise UnreadableImageError(f"values from {low:.3g} to {high:.3g}: too far apart; give --window LOW,HIGH")
    note(OWN_RANGE)
    return (low, high) if high > low else (low, low + 1)


def _end(depth: int) -> int:
    return (1 << depth) - 1
