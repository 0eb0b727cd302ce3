"""How long a site's work takes, phase by phase, and what time it is."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone


@contextmanager
def timed(seconds: dict[str, float], phase: str) -> Iterator[None]:
    """Add the wall-clock seconds of a block to a phase."""
    start = time.perf_counter()
    try:
        yield
    finally:
        seconds[phase] = seconds.get(phase, 0.0) + time.perf_counter() - start


def now() -> str:
    """Return the time in UTC as ISO 8601 writes it, to the second."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
