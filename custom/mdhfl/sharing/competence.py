"""Who may speak about which class: a mean of answers in which each site counts, class by class, as far as it vouches.

With knowledge K_k and competences a_k in [0, 1]^C, the teacher of class c is sum_k a_kc K_kc / sum_k a_kc, rows brought
back to sum 1. One matrix serves everybody, as in `teaching.py`: the server sends S = sum_k a_k K_k and A = sum_k a_k,
and a site subtracts its own a_k K_k and a_k.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mdhfl.sharing.checks import MessageError, array, count, names, number, record
from mdhfl.sharing.knowledge import ROW_SUM_TOLERANCE, Knowledge
from mdhfl.sharing.limits import LARGEST_SHARE
from mdhfl.sharing.records import Lesson
from mdhfl.sharing.teaching import check_matrix, rows_of_sum_one

DOUBT = 10.0  # images whose agreement counts half
ROUNDING = 0.0051  # of a competence that travels, and a little more
SMALLEST = 1e-3  # added to every competence: a class that nobody vouches for is everybody's alike


@dataclass(frozen=True, kw_only=True)
class ClassTeaching(Lesson, kind="class_teaching"):
    """What the server broadcasts.

    Attributes:
        values: (V * N, C) float32, the sum of the sites' knowledge times their competences.
        total: (C,) float32, the sum of the competences.
        sites: whose knowledge is in it; each subtracts its own.
        assumed: in [0, 1], the competence in every class of a site that did not say.
    """

    values: NDArray[np.float32]
    total: NDArray[np.float32]
    sites: tuple[str, ...]
    assumed: float

    def to_wire(self) -> dict[str, Any]:
        """Return plain values and arrays."""
        return {**super().to_wire(), "sites": list(self.sites)}

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any], **known: Any) -> "ClassTeaching":
        """Rebuild a teaching. Raises MessageError."""
        values = record(wire, what="class teaching", fields=cls.sent())
        matrix = array(values["values"], what="class teaching", dtypes=(np.float32,), shape=(None, None))
        total = array(values["total"], what="class teaching's total", dtypes=(np.float32,), shape=matrix.shape[1:])
        if not (np.isfinite(matrix).all() and np.isfinite(total).all() and (total > 0).all()):
            raise MessageError("class teaching: expected finite values and totals above 0, got others")
        return cls(
            values=matrix,
            total=total,
            sites=names(values["sites"], what="class teaching's sites"),
            assumed=number(values["assumed"], what="class teaching's assumed competence", low=0, high=1),
            round=count(values["round"], what="class teaching's round"),
        )

    def check(self, *, kind: str, shape: tuple[int, int]) -> None:
        check_matrix(self.values, shape=shape, what="class teaching")
        if not self.sites or not ((self.total > 0) & (self.total <= LARGEST_SHARE)).all():
            raise MessageError(f"class teaching: expected sites, and totals above 0 and up to {LARGEST_SHARE:g}")
        if float(self.values.min()) < 0 or (self.values > self.total * (1 + ROW_SUM_TOLERANCE)).any():
            raise MessageError("class teaching: expected values from 0 to the total of their class, got others")


def check_competences(competences: NDArray[np.float32], *, images: int) -> None:
    """Refuse competences that a site with so many training images cannot have.

    A competence m / (m + DOUBT), rounded to two decimals, stands for m images that were recognised; all m together are
    at most the site's training images.

    Raises:
        MessageError: they stand for more.
    """
    least = np.maximum(competences.astype(np.float64) - ROUNDING, 0)
    recognised = float((DOUBT * least / (1 - least)).sum())
    if recognised > images:
        raise MessageError(
            f"knowledge's competences: expected those of a site with {images} training images, got such as take "
            f"{recognised:.0f}"
        )


def class_weighted_sum(
    knowledge: Mapping[str, Knowledge], *, power: float = 1.0, trust: Mapping[str, float] = MappingProxyType({})
) -> ClassTeaching:
    """Sum the sites' knowledge times their competences, in the order of the sites' names.

    Args:
        knowledge: site name -> its checked knowledge; at least one, all of one round.
        power: to which the competences are raised: above 1 those who know most speak more.
        trust: site name -> what its weights are multiplied by, above 0; 1 where it is missing.
    """
    sites = sorted(knowledge)
    assumed = assumed_competence(knowledge)
    first = knowledge[sites[0]].values
    values = np.zeros(first.shape, dtype=np.float64)
    total = np.zeros(first.shape[1], dtype=np.float64)
    for site in sites:
        weights = class_weights(knowledge[site].competences, classes=first.shape[1], assumed=assumed, power=power)
        weights = weights * trust.get(site, 1.0)
        values += weights * knowledge[site].values.astype(np.float64)
        total += weights
    return ClassTeaching(
        values=values.astype(np.float32),
        total=total.astype(np.float32),
        sites=tuple(sites),
        assumed=assumed,
        round=knowledge[sites[0]].round,
    )


def leave_one_out_class_sums(
    knowledge: Mapping[str, Knowledge], *, sites: Sequence[str], power: float, trust: Mapping[str, float]
) -> dict[str, ClassTeaching]:
    """Return a sum for each site without its own answers, from which it has nothing to subtract.

    Args:
        knowledge: as in `class_weighted_sum`.
        sites: who is to learn.
        power, trust: as in `class_weighted_sum`.
    """
    others = {site: {name: said for name, said in knowledge.items() if name != site} for site in sites}
    return {site: class_weighted_sum(said, power=power, trust=trust) for site, said in others.items() if said}


def assumed_competence(knowledge: Mapping[str, Knowledge]) -> float:
    """Return the mean over sites and classes of what sites said: the competence of those that did not."""
    said = (knowledge[site].competences for site in sorted(knowledge))
    known = [competences for competences in said if competences is not None]
    return float(np.mean(known)) if known else 1.0


def class_weights(
    competences: NDArray[np.float32] | None, *, classes: int, assumed: float, power: float
) -> NDArray[np.float64]:
    """Return how much a site counts in each class, (C,), above 0; `assumed` in all of them where it did not say."""
    told = np.full(classes, assumed) if competences is None else competences.astype(np.float64)
    weights: NDArray[np.float64] = SMALLEST + told**power
    return weights


def class_teacher(
    teaching: ClassTeaching, *, own: Knowledge | None, site: str, include_own: bool, power: float = 1.0
) -> NDArray[np.float32] | None:
    """Return what a site learns from: (V * N, C) rows that sum to 1; None if nobody else taught.

    Args:
        teaching: the broadcast.
        own: what this site shared last; needed only if it is to be subtracted.
        site: who is asking.
        include_own: whether the site's own answers stay in the mean.
        power: as in `class_weighted_sum`.

    Raises:
        ValueError: the teaching holds this site's share, but the site no longer knows what it shared in that round.
    """
    values, total = teaching.values.astype(np.float64), teaching.total.astype(np.float64)
    if set(teaching.sites) <= {site}:
        return None
    if not include_own and site in teaching.sites:
        if own is None or own.round != teaching.round:
            have = "nothing" if own is None else f"its knowledge of round {own.round}"
            raise ValueError(
                f"site {site!r}: the teaching holds its knowledge of round {teaching.round}, but it has kept {have}; "
                "was its state folder restored from a backup? Leave the site out of this round: it is asked again next"
            )
        weights = class_weights(own.competences, classes=len(total), assumed=teaching.assumed, power=power)
        values, total = values - weights * own.values.astype(np.float64), total - weights
    mean = np.maximum(values, 0.0) / np.maximum(total, SMALLEST / 2)
    return rows_of_sum_one(np.maximum(mean, np.finfo(np.float32).tiny))
