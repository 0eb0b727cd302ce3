"""Windows of grey values: as they are written, and as the values of a data set give them."""

import math

import numpy as np

from mdhfl.preprocessing.raw.pixels import Samples

MOST_VALUES = 1024  # of one slice that are kept for percentiles


def parse_window(text: str) -> tuple[float, float, bool]:
    """Take a window apart.

    Args:
        text: "-160,240" in the files' own units, or "1%,99%".

    Returns:
        Its ends, and whether they are percentiles.

    Raises:
        ValueError: another form, or its ends are not in order.
    """
    ends = text.split(",")
    percent = all(end.strip().endswith("%") for end in ends)
    try:
        low, high = (float(end.strip().removesuffix("%") if percent else end) for end in ends)
    except ValueError:
        low = high = math.nan
    if not low < high or not np.isfinite([low, high]).all() or (percent and not 0 <= low < high <= 100):
        raise ValueError(
            f"window {text!r}: expected LOW,HIGH in the files' own units (for CT -160,240), or percentiles of a data "
            "set of volumes (1%,99%), with LOW below HIGH"
        )
    return low, high, percent


class Spread:
    """The values of a data set, slice by slice: its ends exactly, what lies between from a sample."""

    def __init__(self) -> None:
        self.low, self.high = math.inf, -math.inf
        self.only_bytes = True  # all are what a picture of 8 bits has
        self.kept: list[Samples] = []

    def add(self, samples: Samples) -> None:
        """Take in the finite values of one slice."""
        self.only_bytes &= samples.dtype == np.uint8
        values = samples[np.isfinite(samples)]
        if values.size:
            self.low, self.high = min(self.low, float(values.min())), max(self.high, float(values.max()))
            self.kept.append(values[:: math.ceil(values.size / MOST_VALUES)].astype(np.float64))

    def window(self, low: float, high: float) -> tuple[float, float] | None:
        """The values at two percentiles; None where there are no values."""
        if not self.kept:
            return None
        ends = np.percentile(np.concatenate(self.kept), [low, high])
        first = self.low if low == 0 else float(ends[0])
        last = self.high if high == 100 else float(ends[1])
        return (first, last) if first < last else (first, first + 1)
