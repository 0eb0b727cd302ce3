"""How well scores tell members from non-members: area under the ROC curve, true positives at few false ones. Pure.

An interval is over the images, not over repetitions of the training.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FEWEST = 20  # members and non-members for an interval: below, resampling them says nothing
RESAMPLES = 1000
RATES = (0.01, 0.001)  # false-positive rates; one is measured only where it lets at least one non-member through

Scores = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A number in [0, 1], and its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Separation:
    """How well an attack's scores tell members from non-members.

    Attributes:
        members: how many.
        non_members: how many.
        auc: area under the ROC curve; None with too few images.
        tpr: false-positive rate -> share of the members that are found; None with too few non-members for the rate.
    """

    members: int
    non_members: int
    auc: Estimate | None
    tpr: Mapping[float, Estimate | None]


def separation(members: Scores, non_members: Scores) -> Separation:
    """Measure how well scores separate: higher means "member".

    Args:
        members: (M,) finite scores of members.
        non_members: (N,) finite scores of non-members.
    """
    enough = min(len(members), len(non_members)) >= FEWEST
    return Separation(
        members=len(members),
        non_members=len(non_members),
        auc=_auc(members, non_members) if enough else None,
        tpr={rate: _tpr(members, non_members, rate=rate) if enough else None for rate in RATES},
    )


def together(parts: Sequence[tuple[Scores, Scores]]) -> Separation:
    """Measure several sites' scores of members and of non-members as one; they must be on one scale."""
    members, others = zip(*parts, strict=True) if parts else ((), ())
    return separation(np.concatenate([*members, np.zeros(0)]), np.concatenate([*others, np.zeros(0)]))


def _auc(members: Scores, non_members: Scores) -> Estimate:
    """Return the AUC, the Mann-Whitney statistic, with the percentile interval of a bootstrap within both groups."""
    from scipy.stats import bootstrap, rankdata

    def area(a: Scores, b: Scores, axis: int = -1) -> Scores:
        ranks = rankdata(np.concatenate([a, b], axis=axis), axis=axis)
        m, n = a.shape[axis], b.shape[axis]
        areas: Scores = (ranks[..., :m].sum(axis=-1) - m * (m + 1) / 2) / (m * n)
        return areas

    found = bootstrap(
        (members, non_members), area, n_resamples=RESAMPLES, method="percentile", vectorized=True, batch=100,
        rng=np.random.default_rng(0),
    )  # fmt: skip
    low, high = found.confidence_interval
    return Estimate(value=float(area(members, non_members)), low=float(low), high=float(high))


def _tpr(members: Scores, non_members: Scores, *, rate: float) -> Estimate | None:
    """Return the share of members above all but a rate of the non-members, with Clopper and Pearson's interval."""
    from scipy.stats import binomtest

    allowed = int(rate * len(non_members) + 1e-9)
    if allowed < 1:
        return None
    threshold = np.sort(non_members)[-allowed - 1]
    found = int((members > threshold).sum())
    interval = binomtest(found, len(members)).proportion_ci()
    return Estimate(value=found / len(members), low=float(interval.low), high=float(interval.high))
