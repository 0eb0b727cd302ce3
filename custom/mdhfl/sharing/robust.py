"""Means of the sites' answers that a few wrong ones cannot carry away. Pure; docs/method.md has the equations.

Coordinate-wise trimmed mean and median: Yin et al., "Byzantine-Robust Distributed Learning", ICML 2018. Filter: in the
manner of Chang et al., "Cronus", arXiv 1912.11279, which takes robust mean estimation by iterative spectral filtering
(Diakonikolas et al., ICML 2017) to the sites' answers about each public image. Each takes a weight per site and class,
so that a site counts as far as it vouches for a class.
"""

from collections.abc import Callable, Mapping
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from mdhfl.sharing.teaching import rows_of_sum_one

Rule = Literal["mean", "trimmed", "median", "filter"]
RULES: tuple[str, ...] = get_args(Rule)
FEWEST = 3  # answers: of two that differ, nobody can tell which one is wrong
TOLERANCE = 1e-9  # of shares of a weight that is added up in floating-point numbers
SPREAD = 0.01  # variance along the main direction up to which answers agree, and nobody's is left out

Values = NDArray[np.float64]
Mean = Callable[[Values, Values, float], Values]


def robust_mean(values: NDArray[np.floating], *, weights: Values, rule: str, cut: float) -> Values:
    """Return the (N, C) mean of P sites' answers by a rule; probabilities are not yet brought to sum 1.

    Args:
        values: (P, N, C), finite.
        weights: (P, C), above 0.
        rule: one of RULES.
        cut: in [0, 0.5), the share of the weight that "trimmed" cuts off at each end, and of the sites that "filter"
            leaves out at most, image by image.

    Raises:
        KeyError: there is no such rule.
    """
    return MEANS[rule](values.astype(np.float64), weights, cut)


def _mean(values: Values, weights: Values, cut: float) -> Values:
    mean: Values = np.einsum("pnc,pc->nc", values, weights) / weights.sum(axis=0)
    return mean


def _trimmed(values: Values, weights: Values, cut: float) -> Values:
    """Cut off a share of the weight at both ends of each coordinate; a site may be cut in part."""
    ordered, ends = _in_order(values, weights)
    starts = np.concatenate([np.zeros_like(ends[:1]), ends[:-1]])
    kept = np.clip(np.minimum(ends, 1 - cut) - np.maximum(starts, cut), 0, None)
    mean: Values = (kept * ordered).sum(axis=0) / kept.sum(axis=0)
    return mean


def _median(values: Values, weights: Values, cut: float) -> Values:
    """Return the value at half of the weight; between two values the middle of them."""
    ordered, ends = _in_order(values, weights)
    low = np.argmax(ends >= 0.5 - TOLERANCE, axis=0)[None]
    high = np.argmax(ends > 0.5 + TOLERANCE, axis=0)[None]
    middle: Values = (np.take_along_axis(ordered, low, axis=0) + np.take_along_axis(ordered, high, axis=0))[0] / 2
    return middle


def _in_order(values: Values, weights: Values) -> tuple[Values, Values]:
    """Return the values of each coordinate in ascending order, and the share of the weight up to each of them."""
    order = np.argsort(values, axis=0, kind="stable")
    spread = np.broadcast_to(weights[:, None, :], values.shape)
    sums = np.take_along_axis(spread, order, axis=0).cumsum(axis=0)
    return np.take_along_axis(values, order, axis=0), sums / sums[-1]


def _filtered(values: Values, weights: Values, cut: float) -> Values:
    """Leave out, image by image, who is farthest off along the direction in which answers differ most, and again."""
    sites, images = len(values), np.arange(values.shape[1])
    kept = np.ones(values.shape[:2])
    relative = np.sqrt(weights / weights.max(axis=0))
    for _ in range(int(cut * sites + TOLERANCE)):
        mean = _kept_mean(values, weights, kept)
        apart = kept[:, :, None] * relative[:, None, :] * (values - mean)
        gram = np.einsum("pnc,qnc->npq", apart, apart)
        sizes, directions = np.linalg.eigh(gram)
        farthest = np.abs(directions[:, :, -1]).argmax(axis=1)
        differ = sizes[:, -1] / kept.sum(axis=0) > SPREAD
        kept[farthest[differ], images[differ]] = 0.0
    return _kept_mean(values, weights, kept)


def _kept_mean(values: Values, weights: Values, kept: Values) -> Values:
    mean: Values = np.einsum("pnc,pc,pn->nc", values, weights, kept) / np.einsum("pc,pn->nc", weights, kept)
    return mean


MEANS: Mapping[str, Mean] = {"mean": _mean, "trimmed": _trimmed, "median": _median, "filter": _filtered}


def probabilities(values: Values) -> NDArray[np.float32]:
    """Return (N, C) values of at least 0 with each row brought to sum 1; even where nobody agrees on any class."""
    floor = np.maximum(values, np.finfo(np.float32).tiny)
    return rows_of_sum_one(floor)
