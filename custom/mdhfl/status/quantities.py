"""Amounts for people: bytes on a disk, times that have passed, seconds by phase."""

import os
import shutil
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

UNKNOWN = "\N{EN DASH}"


def bytes_in(folder: Path) -> int:
    """Return the bytes of all files below a folder; links are not followed, what vanishes meanwhile counts nothing."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += os.lstat(os.path.join(place, name)).st_size  # noqa: PTH118
    return total


def disk_of(folder: Path) -> str:
    """Return what a folder takes, and what is free on its disk."""
    return f"{in_bytes(bytes_in(folder))}; {in_bytes(shutil.disk_usage(folder).free)} free"


def in_bytes(count: float) -> str:
    """Write a number of bytes in the unit that suits it."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            break
        count /= 1000
    return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"


def ago(moment: float) -> str:
    """Write how long ago a moment was, given in seconds since the epoch."""
    seconds = max(0.0, time.time() - moment)
    for unit, length in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"


def last_change(paths: Iterable[Path]) -> float:
    """Return when one of some files was written last, in seconds since the epoch; 0 if there is none."""
    times = [0.0]
    for path in paths:
        with suppress(OSError):
            times.append(path.stat().st_mtime)
    return max(times)


def in_phases(seconds: Mapping[str, float]) -> str:
    """Write seconds by phase."""
    return ", ".join(f"{phase} {value:.1f}" for phase, value in seconds.items()) or UNKNOWN


def in_score(value: float | None) -> str:
    """Write a score."""
    return UNKNOWN if value is None else f"{value:.3f}"
