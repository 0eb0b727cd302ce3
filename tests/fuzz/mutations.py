"""Change one to three places of a message: what it holds, what it leaves out, what it adds."""

import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

NAN, INF = float("nan"), float("inf")
ODD: list[Any] = [
    NAN, INF, -INF, -1, 0, 1, 2, -5, 1.5, 1e-300, 1e20, 1e38, 1e300, 1e308, -1e308, 5e-324, 10**18, 2**53, 2**53 + 1,
    2**63, 10**400, True, False, None, "", "x", "0", "x" * 100_000, "\x1b[31mred\x1b[0m", "[/bold]", "=1+1", "\u202e",
    "\ud800", "site-2", "../../etc", b"\x00" * 10, [], {}, (), set(), [1, [2, [3]]], {"a": {"b": {}}}, {1: 2},
    np.float32(1), np.int64(3), np.array(3), np.zeros(0), ["a"] * 2000, {"__class__": "x"}, 1j, range(3),
]  # fmt: skip


def deep(levels: int) -> Any:
    """Return a list in a list in a list."""
    value: Any = []
    for _ in range(levels):
        value = [value]
    return value


CHANGED_ARRAYS: list[Callable[[np.ndarray], Any]] = [
    lambda a: np.full_like(a, np.nan, dtype=np.float32),
    lambda a: np.full(a.shape, np.inf, dtype=np.float32),
    lambda a: (-a.astype(np.float64)).astype(np.float32),
    lambda a: (a * np.float64(1e30)).astype(np.float32),
    lambda a: (a * np.float64(1e5)).astype(np.float32),
    lambda a: (a * np.float64(0)).astype(a.dtype),
    lambda a: np.full(a.shape, 3e38, dtype=np.float32),
    lambda a: np.full(a.shape, 1e-45, dtype=np.float32),
    lambda a: a.astype(np.float64),
    lambda a: a.astype(np.float16),
    lambda a: a.astype(">f4"),
    lambda a: a.astype(np.complex64),
    lambda a: a.astype(np.int64),
    lambda a: a.astype(str),
    lambda a: a.astype(object),
    lambda a: a.astype(bool),
    lambda a: a[:0],
    lambda a: a.T,
    lambda a: a[::-1],
    lambda a: a[None],
    lambda a: a.ravel(),
    lambda a: a.tolist(),
    lambda a: np.concatenate([a, a]),
    lambda a: np.zeros(a.shape, dtype="M8[s]"),
    lambda a: np.zeros(a.shape, dtype=[("x", "f4")]),
    lambda a: np.full(a.shape, 2**64 - 1, dtype=np.uint64),
    lambda a: np.full(a.shape, -3, dtype=np.int64),
    lambda a: (a + 0.0009 / max(1, a.shape[-1])).astype(a.dtype) if a.ndim else a,
    lambda a: np.asfortranarray(a),
    lambda a: np.ma.masked_array(a),
    lambda a: np.zeros((1000, 1000), dtype=np.uint8),
]
CHANGED_ARRAYS += 3 * CHANGED_ARRAYS[:8]  # of the right type and shape: what a check of types lets through
NUMBERS = (0, 0.5, 1, 90, 200, 9e5, 3e38, NAN)
SMALLEST_CHANGES: list[Callable[[Any], Any]] = [
    lambda v: v + 1,
    lambda v: v - 1,
    lambda v: -v,
    lambda v: v * 1000,
    lambda v: v * 10**18,
    lambda v: float(v),
    lambda v: v / 3,
]


def mutated(wire: dict[str, Any], *, random: random.Random) -> dict[str, Any]:
    """Return a message with one to three places changed; the given one stays."""
    changed = _copied(wire)
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        inner = changed.get(random.choice(("shared", "lesson", "cost")))  # half of all: what the arithmetic sees
        places = list(_places(inner if isinstance(inner, dict) else changed))
        if places:
            _change(*random.choice(places), random=random)
    return changed


def _odd(random: random.Random) -> Any:
    """Return something odd, of its own: later changes may fall into it."""
    levels = random.choice([0] * len(ODD) + [300, 5000])
    return deep(levels) if levels else _copied(random.choice(ODD))


def _copied(value: Any) -> Any:
    """Return a message in containers of its own; arrays are never changed in place."""
    if isinstance(value, dict):
        return {key: _copied(part) for key, part in value.items()}
    return [_copied(part) for part in value] if isinstance(value, list) else value


def _places(value: Any, depth: int = 0) -> Iterator[tuple[Any, Any]]:
    """Yield (container, key) of everything in a message."""
    if depth > 6:
        return
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in entries:
        yield value, key
        yield from _places(part, depth + 1)


def _change(container: Any, key: Any, *, random: random.Random) -> None:
    old, what = container[key], random.random()
    numbers = isinstance(old, np.ndarray) and old.ndim > 0 and old.dtype.kind in "fiu" and old.size > 0
    if what < 0.08:
        del container[key]
    elif what < 0.16 and isinstance(container, dict):
        name = random.choice(["extra", "x" * 10_000, "", "kind", "__class__", "\x1b[2J", 5, (1, 2), None])
        container[name] = _odd(random)
    elif numbers and what < 0.7:
        container[key] = random.choice(CHANGED_ARRAYS)(old)
    elif type(old) in (int, float) and abs(old) < 1e300 and what < 0.7:
        container[key] = random.choice(SMALLEST_CHANGES)(old)
    elif numbers:  # one of many
        other = old.copy()
        other.flat[random.randrange(old.size)] = np.float64(random.choice(NUMBERS)).astype(old.dtype)
        container[key] = other
    else:
        container[key] = _odd(random)
