"""Hyper-parameters: fields of a method with a published value, a meaning and a range."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from typing import Any

SMALLEST, LARGEST = 1e-6, 1e6  # magnitudes: whoever sets others may want a site's training to end in NaN
FINITE = sys.float_info.max


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One hyper-parameter, as the help shows it.

    Attributes:
        name: as in `--set NAME=VALUE`.
        kind: int, float, bool or str.
        default: the published value.
        meaning: one phrase.
        range: in words, for example "at least 0".
    """

    name: str
    kind: type
    default: Any
    meaning: str
    range: str


def parameter(
    default: Any,
    meaning: str,
    *,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    among: Sequence[str] | None = None,
    later: bool = False,
) -> Any:
    """Declare a field of a method.

    Args:
        default: the published value; its type (bool, int, float, str) is the parameter's.
        meaning: one phrase for the help.
        at_least: the smallest value.
        above: what every value is greater than.
        at_most: the largest value.
        among: the words that a text may be.
        later: whether version 0.1.0 had none, and did what the default does: its records need not name it.
    """
    bounds = {"at_least": at_least, "above": above, "at_most": at_most, "among": among}
    return field(default=default, metadata={"meaning": meaning, "kind": type(default), "later": later, **bounds})


def parameters_of(method: Any) -> Iterator[Parameter]:
    """Yield the hyper-parameters of a method or of its class, in the order of their declaration."""
    for one in fields(method):
        kind = one.metadata.get("kind", object)
        default = None if one.default is MISSING else one.default
        yield Parameter(
            name=one.name,
            kind=kind,
            default=default,
            meaning=one.metadata.get("meaning", ""),
            range="true or false" if kind is bool else _range(one.metadata),
        )


def check_parameters(method: Any) -> None:
    """Refuse a method with a hyper-parameter of the wrong type or out of range.

    Raises:
        ValueError: naming the parameter, what was expected and what came.
    """
    for one in fields(method):
        if "kind" in one.metadata:
            _check(one.name, getattr(method, one.name), one.metadata)


def _check(name: str, value: Any, bounds: Mapping[str, Any]) -> None:
    if bounds["kind"] is bool:
        if not isinstance(value, bool):
            raise ValueError(f"{name}: expected true or false, got {value!r}")
        return
    if bounds["kind"] is str:
        if value not in bounds["among"]:
            raise ValueError(f"{name}: expected one of {', '.join(bounds['among'])}, got {value!r}")
        return
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= FINITE:
        raise ValueError(f"{name}: expected a finite number, got {value!r}")
    if bounds["kind"] is int and not isinstance(value, int):
        raise ValueError(f"{name}: expected a whole number, got {value!r}")
    if value and not SMALLEST <= abs(value) <= LARGEST:
        raise ValueError(f"{name}: expected 0 or a magnitude from {SMALLEST:g} to {LARGEST:g}, got {value:g}")
    low, above, high = bounds["at_least"], bounds["above"], bounds["at_most"]
    if low is not None and value < low:
        raise ValueError(f"{name}: expected at least {low}, got {value}")
    if above is not None and value <= above:
        raise ValueError(f"{name}: expected above {above}, got {value}")
    if high is not None and value > high:
        raise ValueError(f"{name}: expected at most {high}, got {value}")


def _range(bounds: Mapping[str, Any]) -> str:
    if bounds.get("among"):
        return " | ".join(bounds["among"])
    words = {"at_least": "at least", "above": "above", "at_most": "at most"}
    return ", ".join(f"{text} {bounds[name]}" for name, text in words.items() if bounds.get(name) is not None)
