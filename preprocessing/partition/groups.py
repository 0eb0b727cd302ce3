"""Units: the images that must stay together. A unit is one group, or one image without a group."""

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]
Labels = NDArray[np.int64]


def units_of(groups: Sequence[Hashable | None]) -> list[Indices]:
    """The images of each unit, in the order of their first image.

    Args:
        groups: (n,) a group's name, or None for an image that stands alone.

    Returns:
        Index arrays that cover 0..n-1 exactly once.
    """
    members: dict[Hashable, list[int]] = {}
    for index, group in enumerate(groups):
        members.setdefault(("alone", index) if group is None else ("group", group), []).append(index)
    return [np.array(indices, dtype=np.int64) for indices in members.values()]


def unit_labels(units: Sequence[Indices], *, labels: Labels) -> Labels:
    """The commonest label of each unit (the smaller one of two equally common ones)."""
    return np.array([labels[u[0]] if len(u) == 1 else np.bincount(labels[u]).argmax() for u in units], dtype=np.int64)


def joined(units: Sequence[Indices]) -> Indices:
    """All images of some units, ascending."""
    return np.sort(np.concatenate(units)) if len(units) else np.empty(0, dtype=np.int64)
