"""How far sites' answers about the public images agree, class by class, whatever mix of classes each has seen. Pure.

Levels of probabilities differ between honest sites with different classes; the order of the images in which a class
becomes likelier does not, as soon as they have learned from one teacher. So ranks are compared, not levels: Spearman's
correlation over the images, of a class's log probability less the mean over classes (Aitchison, "The Statistical
Analysis of Compositional Data", 1982), mean over the classes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import fsum

import numpy as np
from numpy.typing import NDArray

from mdhfl.sharing.knowledge import Knowledge

TINY = 1e-30  # a probability of 0
USUAL = 0.4  # agreement of a teacher with a site's own answers, below which a fall says nothing
FLAT = 1e-3  # spread of log ratios over the images, below which a site says the same of every image

Matrix = NDArray[np.float64]


def log_ratios(knowledge: Knowledge) -> Matrix:
    """Return (V * N, C): each class's logit or log probability, less the mean over the classes."""
    values = knowledge.values.astype(np.float64)
    scores = values if knowledge.subject.kind == "logits" else np.log(np.maximum(values, TINY))
    centred: Matrix = scores - scores.mean(axis=1, keepdims=True)
    return centred


def ranked(scores: Matrix) -> Matrix:
    """Return each column's ranks, equals sharing their mean rank, centred and of length 1; 0 where all are equal."""
    found = np.empty(scores.shape)
    for c, column in enumerate(scores.T):
        _, which, counts = np.unique(column, return_inverse=True, return_counts=True)
        found[:, c] = (np.cumsum(counts) - (counts - 1) / 2)[which]
    found -= found.mean(axis=0)
    length = np.sqrt((found**2).sum(axis=0))
    unit: Matrix = found / np.where(length > 0, length, np.inf)
    return unit


def correlation(first: Matrix, second: Matrix) -> float:
    """Return the mean over the classes of the rank correlation over the images, in [-1, 1].

    Args:
        first, second: (V * N, C), as `ranked` gives them.
    """
    return float((first * second).sum(axis=0).mean())


def agreement_with(teacher: NDArray[np.floating], *, own: Knowledge) -> float:
    """Return the correlation of a teacher, (V * N, C) of the same kind, with what a site itself said, in [-1, 1]."""
    return correlation(ranked(log_ratios(replace(own, values=teacher))), ranked(log_ratios(own)))


def teacher_has_fallen(agreement: float, *, before: Sequence[float]) -> bool:
    """Return whether a teacher agrees with a site by less than half of what teachers did before, once they did agree.

    Args:
        agreement: of this round's teacher, as `agreement_with` gives it.
        before: of the teachers of the rounds before.
    """
    usual = max(before, default=0.0)
    return usual >= USUAL and agreement < usual / 2


def correlations(ranks: Mapping[str, Matrix]) -> dict[str, dict[str, float]]:
    """Return site -> other site -> their correlation."""
    names = sorted(ranks)
    flat = np.stack([ranks[site].ravel() for site in names])
    products = flat @ flat.T / ranks[names[0]].shape[1]
    return {
        site: {other: float(products[k, j]) for j, other in enumerate(names) if j != k} for k, site in enumerate(names)
    }


def upper_median(values: Sequence[float]) -> float:
    """Return the middle of the values, the upper of two: half of them, less one, may be anything."""
    return sorted(values)[len(values) // 2]


def fits_of(own: Matrix, others: Sequence[Matrix]) -> Matrix:
    """Return (C, C): how each class of a site, a row, correlates with each class of the others' median answer.

    Args:
        own: (V * N, C) ranks of the site.
        others: ranks of the others.
    """
    found: Matrix = own.T @ ranked(np.median(np.stack(others), axis=0))
    return found


def renamed(fits: Matrix) -> float:
    """Return what other names for a site's classes would gain in correlation, mean over the classes, at least 0.

    Each class gets one name and each name one class, as the names fit best (the assignment problem; by networkx, since
    torch brings it and a server needs no scipy; it is imported late, since a site never asks).
    """
    import networkx as nx

    own = np.diag(fits)
    if (fits.max(axis=1) <= own).all():
        return 0.0
    names = nx.Graph()  # numbers as nodes, and a sum in any order: the same to the last bit in every process
    names.add_weighted_edges_from((c, len(fits) + d, float(fit)) for (c, d), fit in np.ndenumerate(fits - own[:, None]))
    best = nx.max_weight_matching(names, maxcardinality=True)
    return max(0.0, fsum(names.edges[pair]["weight"] for pair in best) / len(fits))


def swapped(fits: Matrix) -> float:
    """Return what two classes would both gain by each other's name, for the pair that gains most; -1 for one class."""
    gains = fits - np.diag(fits)[:, None]
    both = np.minimum(gains, gains.T)
    np.fill_diagonal(both, -1.0)
    return float(both.max())


def nearest(own: Matrix, others: Sequence[Matrix]) -> float:
    """Return the highest correlation of any class of a site with the same class of any other, in [-1, 1]."""
    return max(float((own * other).sum(axis=0).max()) for other in others)


def is_flat(scores: Matrix) -> bool:
    """Return whether a site says the same of every image.

    Args:
        scores: (V * N, C), as `log_ratios` gives them.
    """
    return float(scores.std(axis=0).max()) < FLAT


def distance(first: Knowledge, second: Knowledge) -> float:
    """Return the mean over the images of half the sum of differences between two sites' probabilities, in [0, 1]."""
    return float(np.abs(_probabilities(first) - _probabilities(second)).sum(axis=1).mean() / 2)


def _probabilities(knowledge: Knowledge) -> Matrix:
    values = knowledge.values.astype(np.float64)
    if knowledge.subject.kind == "probabilities":
        return values
    powers = np.exp(values - values.max(axis=1, keepdims=True))
    rows: Matrix = powers / powers.sum(axis=1, keepdims=True)
    return rows
