"""Lists of values in a comparison: one method each, named by its values."""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from mdhfl.runs.recipe import plain_value


def variants(
    title: str, chosen: Mapping[str, Any], *, common: Mapping[str, Any]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield a title and hyper-parameters for every combination of the values in lists.

    Args:
        title: of the method.
        chosen: its own hyper-parameters; name -> value, or a list of values.
        common: those of all methods; the method's own come before them.

    Raises:
        ValueError: an empty list, or a value twice.
    """
    changes = {name: _plain(value) for name, value in {**common, **chosen}.items()}
    lists = {name: values for name, values in changes.items() if isinstance(values, list)}
    for name, values in lists.items():
        if not values or any(values.count(value) > 1 for value in values):
            raise ValueError(f"{name}: expected one value or a list of different ones, got {values}")
    for combination in itertools.product(*lists.values()):
        picked = dict(zip(lists, combination, strict=True))
        yield ", ".join([title, *(f"{name} {value}" for name, value in picked.items())]), {**changes, **picked}


def _plain(value: Any) -> Any:
    return [plain_value(each) for each in value] if isinstance(value, list) else plain_value(value)
