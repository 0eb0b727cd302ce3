"""One matrix is enough: the server sends everybody the weighted sum, and each site subtracts its own share.

With teachers K_j, weights w_j and q the learner's answer,

    sum_{j != k} w_j KL(K_j || q) / (W - w_k) = KL(T_k || q) + const,   T_k = (S - w_k K_k) / (W - w_k),

where S = sum_j w_j K_j and W = sum_j w_j. The gradients with respect to q are identical.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mdhfl.sharing.knowledge import Knowledge


@dataclass(frozen=True, kw_only=True)
class Teaching:
    """What the server broadcasts.

    Attributes:
        values: (N, C) float32, the weighted sum of the sites' knowledge.
        weights: site name -> its weight in the sum, above 0. A site that is named here subtracts its own share.
        round: the round whose knowledge was summed.
    """

    values: NDArray[np.float32]
    weights: Mapping[str, float]
    round: int


def weighted_sum(knowledge: Mapping[str, Knowledge], *, weights: Mapping[str, float]) -> Teaching:
    """Sum the sites' knowledge in the order of their names, so that the order of arrival cannot matter.

    Args:
        knowledge: site name -> its checked knowledge; at least one, all of one round.
        weights: site name -> weight above 0, for the same sites.
    """
    names = sorted(knowledge)
    total = np.zeros(knowledge[names[0]].values.shape, dtype=np.float64)
    for name in names:
        total += weights[name] * knowledge[name].values.astype(np.float64, copy=False)
    return Teaching(
        values=total.astype(np.float32),
        weights={name: float(weights[name]) for name in names},
        round=knowledge[names[0]].round,
    )


def mean_of_all(teaching: Teaching) -> NDArray[np.float32]:
    """Return the weighted mean of all sites' knowledge, the asking site's included."""
    return (teaching.values.astype(np.float64) / sum(teaching.weights.values())).astype(np.float32)


def mean_of_others(teaching: Teaching, *, own: Knowledge | None, site: str) -> NDArray[np.float64] | None:
    """Return the (N, C) weighted mean of the others' knowledge, None if nobody else taught.

    Args:
        teaching: the broadcast sum.
        own: what this site shared last; needed only if the site is named in the sum.
        site: who is asking.

    Raises:
        ValueError: the sum holds this site's share but the site no longer knows what it shared in that round.
    """
    own_weight = teaching.weights.get(site, 0.0)
    total = teaching.values.astype(np.float64)
    if own_weight:
        if own is None or own.round != teaching.round:
            have = "nothing" if own is None else f"its knowledge of round {own.round}"
            raise ValueError(
                f"site {site!r}: the teaching holds its knowledge of round {teaching.round}, but it has kept {have}; "
                "was its state folder restored from a backup? Leave the site out of this round: it is asked again next"
            )
        total -= own_weight * own.values.astype(np.float64)
    rest = sum(teaching.weights.values()) - own_weight
    return total / rest if rest > 0 else None


def leave_one_out(teaching: Teaching, *, own: Knowledge | None, site: str) -> NDArray[np.float32] | None:
    """Return the weighted mean of the others' probabilities.

    Args:
        teaching: the broadcast sum of probabilities.
        own: what this site shared last; needed only if the site is named in the sum.
        site: who is asking.

    Returns:
        (N, C) float32 whose rows sum to 1, or None if nobody else taught.

    Raises:
        ValueError: the sum holds this site's share but the site no longer knows what it shared in that round.
    """
    mean = mean_of_others(teaching, own=own, site=site)
    if mean is None:
        return None
    mean = np.maximum(mean, 0.0)  # the subtraction of rounded numbers may leave -1e-8
    return np.asarray(mean / mean.sum(axis=1, keepdims=True), dtype=np.float32)
