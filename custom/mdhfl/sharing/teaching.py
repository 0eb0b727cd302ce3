"""One matrix is enough: the server sends everybody the weighted sum, and each site subtracts its own share.

With teachers K_j, weights w_j and q the learner's answer,

    sum_{j != k} w_j KL(K_j || q) / (W - w_k) = KL(T_k || q) + const,   T_k = (S - w_k K_k) / (W - w_k),

where S = sum_j w_j K_j and W = sum_j w_j. The gradients with respect to q are identical.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mdhfl.sharing.checks import MessageError, array, count, number, record, text
from mdhfl.sharing.knowledge import ROW_SUM_TOLERANCE, Knowledge
from mdhfl.sharing.limits import LARGEST_LOGIT, LARGEST_SHARE
from mdhfl.sharing.records import Lesson


@dataclass(frozen=True, kw_only=True)
class Teaching(Lesson, kind="teaching"):
    """What the server broadcasts.

    Attributes:
        values: (V * N, C) float32, the weighted sum of the sites' knowledge.
        weights: site name -> its weight in the sum, above 0. A site that is named here subtracts its own share.
    """

    values: NDArray[np.float32]
    weights: Mapping[str, float]

    def to_wire(self) -> dict[str, Any]:
        """Return the values, the weights and the round."""
        return {"values": self.values, "weights": dict(self.weights), "round": self.round}

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any], **known: Any) -> "Teaching":
        """Rebuild a teaching. Raises MessageError."""
        values = record(wire, what="teaching", fields=cls.sent())
        if not isinstance(values["weights"], Mapping):
            raise MessageError(f"teaching: expected a weight per site, got {type(values['weights']).__name__}")
        return cls(
            values=array(values["values"], what="teaching", dtypes=(np.float32,), shape=(None, None)),
            weights={
                text(site, what="teaching's site"): number(weight, what="teaching's weight", low=0)
                for site, weight in values["weights"].items()
            },
            round=count(values["round"], what="teaching's round"),
        )

    def check(self, *, kind: str, shape: tuple[int, int]) -> None:
        if not self.weights or not all(0 < weight <= LARGEST_SHARE for weight in self.weights.values()):
            raise MessageError(f"teaching: expected a weight above 0 and up to {LARGEST_SHARE:g} for each of its sites")
        check_matrix(self.values, shape=shape, what="teaching")
        total, low, high = sum(self.weights.values()), float(self.values.min()), float(self.values.max())
        if kind == "logits":
            bound = total * LARGEST_LOGIT * (1 + ROW_SUM_TOLERANCE)
            if max(high, -low) > bound:
                raise MessageError(
                    f"teaching: expected sums of logits of at most {bound:g}, got {low:.4g} to {high:.4g}"
                )
            return
        off = float(np.abs(self.values.sum(axis=1, dtype=np.float64) - total).max())
        if low < 0 or off > total * ROW_SUM_TOLERANCE:
            raise MessageError(
                f"teaching: expected probabilities in rows that sum to {total:g}, the sum of its weights; got a "
                f"smallest value of {low:.4g} and a row that is off by {off:.4g}"
            )


def check_matrix(values: NDArray[np.float32], *, shape: tuple[int, int], what: str) -> None:
    """Refuse a matrix of another shape, or with NaN or infinity. Raises MessageError."""
    if values.shape != shape:
        raise MessageError(f"{what}: expected shape {shape} for this site's public set and classes, got {values.shape}")
    if not np.isfinite(values).all():
        raise MessageError(f"{what}: NaN or infinity in {int((~np.isfinite(values)).sum())} of {values.size} numbers")


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


def rows_of_sum_one(values: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return (N, C) non-negative values with each row brought to sum 1."""
    rows: NDArray[np.float32] = (values / values.sum(axis=1, keepdims=True)).astype(np.float32)
    return rows


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
    if float(mean.min()) < -ROW_SUM_TOLERANCE or float(mean.sum(axis=1).min()) < ROW_SUM_TOLERANCE:
        raise MessageError(f"teaching: does not hold what site {site!r} shared, though it says so")
    mean = np.maximum(mean, 0.0)  # the subtraction of rounded numbers may leave -1e-8
    return rows_of_sum_one(mean)


def sharpened(rows: NDArray[np.floating], *, temperature: float) -> NDArray[np.float32]:
    """Return (N, C) probabilities raised to the power of 1 / temperature, rows brought back to sum 1.

    A mean of answers is less sure than each of them. Entropy reduction of a mean before it teaches: Itahara et al.,
    DS-FL, arXiv 2008.06180; this form of it: Berthelot et al., MixMatch, NeurIPS 2019.

    Args:
        rows: not negative, each with a number above 0.
        temperature: in (0, 1]; 1 leaves the rows as they are.
    """
    if temperature == 1:
        return rows.astype(np.float32, copy=False)
    relative = rows.astype(np.float64) / rows.max(axis=1, keepdims=True)  # so that no row vanishes
    return rows_of_sum_one(relative ** (1 / temperature))
