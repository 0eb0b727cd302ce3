"""How long the rest of a comparison takes, from the runs that have ended. Pure."""

from collections.abc import Mapping, Sequence
from statistics import mean


def seconds_left(
    waiting: Sequence[str], underway: Sequence[tuple[str, float]], *, known: Mapping[str, Sequence[float]], slots: int
) -> float | None:
    """Return about how many seconds are left; None while no run has ended.

    Args:
        waiting: the methods of the runs that have not begun.
        underway: method, and seconds so far, of those that have.
        known: method -> seconds of its runs that have ended. Of a method without any, the mean of all others counts.
        slots: runs at a time.
    """
    found = [seconds for each in known.values() for seconds in each]
    if not found:
        return None
    usual = mean(found)

    def expected(method: str) -> float:
        return mean(known[method]) if known.get(method) else usual

    begun = [max(0.0, expected(method) - so_far) for method, so_far in underway]
    rest = [expected(method) for method in waiting]
    return max([(sum(begun) + sum(rest)) / slots, *begun, *rest])


def in_words(seconds: float) -> str:
    """Return a duration as people say it: "40 s", "12 min", "3 h 20 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
