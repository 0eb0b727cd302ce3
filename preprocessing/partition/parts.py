"""Split a set of images into parts: stratified by class, and a group never in two parts."""

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from mdhfl.preprocessing.partition.groups import Indices, Labels, joined, units_of

Counts = NDArray[np.float64]


def split_parts(
    labels: Labels,
    *,
    fractions: Sequence[float],
    groups: Sequence[Hashable | None] | None = None,
    generator: np.random.Generator,
) -> list[Indices]:
    """Split into parts with the given fractions of every class, as nearly as whole groups allow.

    Iterative stratification (Sechidis et al., ECML PKDD 2011) over units: the rarest class first, its largest unit
    first, each to the part that misses most of the class. What rounding leaves over is carried to the next class, so
    that without groups every part is within one image of its share of the whole. A class's first unit goes to
    the first part: a class with a single image is trained on.

    Args:
        labels: (n,) class of each image.
        fractions: share of each part; the first is the training part; together 1.
        groups: (n,) what must stay together; None: every image stands alone.
        generator: decides what the fractions leave open.

    Returns:
        One ascending index array per part; together they cover 0..n-1 exactly once.

    Raises:
        ValueError: fractions below 0, a first fraction of 0, or a sum other than 1.
    """
    shares = _checked_fractions(fractions)
    units = units_of([None] * len(labels) if groups is None else groups)
    counts = _class_counts(units, labels)
    totals = counts.sum(axis=0)
    wanted = shares[:, None] * totals[None, :]  # (parts, classes): images still missing
    chosen: list[list[Indices]] = [[] for _ in shares]
    left = generator.permutation(len(units))
    carry = np.zeros(len(shares))
    trained = np.zeros(len(totals), dtype=bool)  # classes that the first part has
    for label in np.argsort(totals, kind="stable"):
        holds = counts[left, label] > 0
        queue, left = left[holds], left[~holds]
        queue = queue[np.argsort(-counts[queue, label], kind="stable")]
        wanted[:, label] += carry
        for place, unit in enumerate(queue):
            untrained = place == 0 and not trained[label]
            part = 0 if untrained else int(np.argmax(wanted[:, label] + 1e-9 * wanted.sum(axis=1)))
            wanted[part] -= counts[unit]
            trained |= (part == 0) & (counts[unit] > 0)
            chosen[part].append(units[unit])
        carry = wanted[:, label].copy()
    return [joined(part) for part in chosen]


def stratified_subset(labels: Labels, *, count: int, generator: np.random.Generator) -> Indices:
    """A random subset with the whole's class mix; every class keeps an image while the count allows it.

    Args:
        labels: (n,) class of each image.
        count: images to keep; n or more keeps all.

    Returns:
        Ascending indices, min(count, n) of them.
    """
    if count >= len(labels):
        return np.arange(len(labels))
    return first_of_each(labels, turns=drawing_turns(labels, generator=generator), count=count)


def drawing_turns(labels: Labels, *, generator: np.random.Generator) -> Indices:
    """(n,) each image's turn among those of its class, in a random order."""
    turns = np.empty(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        members = generator.permutation(np.flatnonzero(labels == label))
        turns[members] = np.arange(len(members))
    return turns


def first_of_each(labels: Labels, *, turns: Indices, count: int) -> Indices:
    """The images of each class whose turn comes first, as many of a class as its share of the whole.

    Args:
        labels: (n,) class of each image.
        turns: (n,) the lower, the earlier an image is taken; different within a class.
        count: images to take, at most n.

    Returns:
        Ascending indices.
    """
    classes, sizes = np.unique(labels, return_counts=True)
    quotas = _quotas(sizes, count=count)
    chosen = []
    for label, quota in zip(classes, quotas, strict=True):
        members = np.flatnonzero(labels == label)
        chosen.append(members[np.argsort(turns[members], kind="stable")][:quota])
    return np.sort(np.concatenate(chosen)) if chosen else np.empty(0, dtype=np.int64)


def _quotas(sizes: Indices, *, count: int) -> Indices:
    exact = count * sizes / max(1, sizes.sum())
    quotas: Indices = np.floor(exact).astype(np.int64)
    if count >= len(sizes):
        quotas = np.maximum(quotas, 1)
    order = np.argsort(quotas - exact, kind="stable")  # those that lost most by rounding first
    for step in range(abs(count - int(quotas.sum()))):
        if quotas.sum() < count:
            quotas[order[step % len(order)]] += 1
        else:
            quotas[int(np.argmax(np.where(quotas > 1, quotas - exact, -np.inf)))] -= 1
    return quotas


def _class_counts(units: Sequence[Indices], labels: Labels) -> Counts:
    classes = int(labels.max()) + 1 if len(labels) else 0
    counts = np.zeros((len(units), classes))
    for row, unit in enumerate(units):
        np.add.at(counts[row], labels[unit], 1)
    return counts


def _checked_fractions(fractions: Sequence[float]) -> Counts:
    shares = np.array(fractions, dtype=np.float64)
    if (shares < 0).any() or not np.isclose(shares.sum(), 1) or shares[0] <= 0:
        raise ValueError(
            f"fractions of the parts {shares.tolist()}: expected shares from 0 to 1 with sum 1, some for training"
        )
    return shares
