"""Checks of the plain values in a message. Who sent it is at fault; the text says which field, and what came."""

import sys
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

LONGEST_NAME = 100  # characters
LONGEST_TEXT = 4000  # characters, of a refusal
MOST_NAMES = 1000  # in a list of names
LARGEST_COUNT = 2**53  # the largest whole number that JSON keeps everywhere
LARGEST_NUMBER = sys.float_info.max


class MessageError(ValueError):
    """A message, or something in it, that must not be used; the text says what was expected and what came."""


def text(value: Any, *, what: str, longest: int = LONGEST_NAME) -> str:
    """Return a string of at most `longest` characters. Raises MessageError."""
    if not isinstance(value, str) or len(value) > longest:
        raise MessageError(f"{what}: expected text of at most {longest} characters, got {shown(value)}")
    return value


def names(value: Any, *, what: str) -> tuple[str, ...]:
    """Return a list of names as a tuple. Raises MessageError."""
    if not isinstance(value, list | tuple) or len(value) > MOST_NAMES:
        raise MessageError(f"{what}: expected a list of at most {MOST_NAMES} names, got {shown(value)}")
    return tuple(text(name, what=what) for name in value)


def count(value: Any, *, what: str, low: int = 0, high: int = LARGEST_COUNT) -> int:
    """Return a whole number from `low` to `high`. Raises MessageError."""
    if type(value) is not int or not low <= value <= high:
        raise MessageError(f"{what}: expected a whole number from {low} to {high}, got {shown(value)}")
    return value


def number(value: Any, *, what: str, low: float = -LARGEST_NUMBER, high: float = LARGEST_NUMBER) -> float:
    """Return a finite number from `low` to `high`. Raises MessageError."""
    if type(value) not in (int, float) or not low <= value <= high:  # NaN is in no range
        raise MessageError(f"{what}: expected a number from {low:g} to {high:g}, got {shown(value)}")
    return float(value)


def choice(value: Any, *, what: str, among: Iterable[str]) -> Any:
    """Return a text that is one of several. Raises MessageError."""
    if not isinstance(value, str) or value not in set(among):
        raise MessageError(f"{what}: expected one of {', '.join(sorted(among))}, got {shown(value)}")
    return value


def record(value: Any, *, what: str, fields: Iterable[str]) -> Mapping[str, Any]:
    """Return a mapping that has these fields and no others. Raises MessageError."""
    wanted = set(fields)
    if not isinstance(value, Mapping) or set(value) != wanted:
        got = f"the fields {', '.join(map(shown, list(value)[:20]))}" if isinstance(value, Mapping) else shown(value)
        raise MessageError(f"{what}: expected the fields {', '.join(sorted(wanted))}, got {got}")
    return value


def array(value: Any, *, what: str, dtypes: Iterable[type], shape: tuple[int | None, ...]) -> NDArray[Any]:
    """Return a numpy array of one of these types and of this shape; None stands for any length. Raises MessageError."""
    allowed = [np.dtype(dtype) for dtype in dtypes]
    if type(value) is not np.ndarray or value.dtype not in allowed:
        got = value.dtype if isinstance(value, np.ndarray) else shown(value)
        raise MessageError(f"{what}: expected an array of {' or '.join(map(str, allowed))}, got {got}")
    fits = len(value.shape) == len(shape) and all(w in (None, g) for w, g in zip(shape, value.shape, strict=True))
    if not fits:
        raise MessageError(f"{what}: expected an array of shape {shape}, got {value.shape}")
    return value


def shown(value: Any) -> str:
    """Return a value in short, however long, deep or odd it is."""
    if isinstance(value, str):
        return f"text {value[:LONGEST_NAME]!r}" + ("..." if len(value) > LONGEST_NAME else "")
    if type(value) is int and value.bit_length() > 64:
        return f"a whole number of {value.bit_length()} bits"
    if value is None or isinstance(value, bool | int | float):
        return f"{type(value).__name__} {value!r}"
    return f"a {type(value).__name__}" + (f" of {len(value)}" if isinstance(value, list | tuple | dict) else "")
