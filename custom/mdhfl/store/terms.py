"""What an experiment was begun with, and how something else differs from it, in one line."""

import json
from collections.abc import Mapping
from typing import Any

LONGEST = 60  # characters of a value that is shown


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Say what differs: "seed 0, now 7; parameters.align_epochs 1, now 2"; empty if nothing does."""
    old, new = _flat(before), _flat(now)
    names = [name for name in dict.fromkeys([*old, *new]) if old.get(name) != new.get(name)]
    return "; ".join(f"{name} {_shown(old.get(name))}, now {_shown(new.get(name))}" for name in names)


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in json.loads(json.dumps(values)).items():  # as after a way through a file: no tuples
        inner = value if isinstance(value, Mapping) else {"": value}
        flat |= {f"{name}.{key}" if key else name: part for key, part in inner.items()}
    return flat


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
