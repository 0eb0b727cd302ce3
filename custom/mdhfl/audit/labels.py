"""How well a site's label distribution can be told from what it sent. Numpy and scipy only.

An honest but curious receiver of class probabilities on public images estimates which share of a site's training labels
each class has: from the mean of the answers (Shi et al., arXiv 2502.08001, attack label distributions so), from how far
they lean away from the others' answers, from competences, and from confusion matrices. Every estimate is measured; the
best one counts, as if the receiver knew which one that is.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mdhfl.sharing.competence import DOUBT

Distribution = NDArray[np.float64]
SMALLEST = 1e-6  # of a probability, before a logarithm
LARGEST_SHIFT = 12.0  # of a class's log prior: e^12 to one is as good as never


@dataclass(frozen=True, kw_only=True)
class LabelAudit:
    """Errors of the estimates of one site's label distribution, as total variation: 0 is exact, 1 is all wrong.

    Attributes:
        uniform: of a guess that gives every class the same share.
        errors: name of the estimate -> its error; empty where nothing was sent that tells.
    """

    uniform: float
    errors: Mapping[str, float]

    @property
    def best(self) -> str | None:
        """Name of the best estimate, None for none."""
        return min(self.errors, key=lambda name: self.errors[name]) if self.errors else None

    @property
    def error(self) -> float | None:
        """Error of the best estimate, None for none."""
        return None if self.best is None else self.errors[self.best]


def distribution_of(labels: NDArray[np.integer], *, classes: int) -> Distribution:
    """Return the (C,) shares of (M,) labels."""
    counts = np.bincount(labels, minlength=classes).astype(np.float64)
    shares: Distribution = counts / max(counts.sum(), 1)
    return shares


def total_variation(a: Distribution, b: Distribution) -> float:
    """Return half the sum of the absolute differences of two distributions, in [0, 1]."""
    return float(np.abs(a - b).sum() / 2)


def audit_labels(truth: Distribution, estimates: Mapping[str, Distribution]) -> LabelAudit:
    """Compare estimates, and a uniform guess, with the truth."""
    uniform = np.full(len(truth), 1 / len(truth))
    return LabelAudit(
        uniform=total_variation(uniform, truth),
        errors={name: total_variation(estimate, truth) for name, estimate in estimates.items()},
    )


def mean_answer(answers: NDArray[np.floating]) -> Distribution:
    """Return the mean of (N, C) probabilities over the images."""
    total: Distribution = answers.sum(axis=0, dtype=np.float64)
    mean: Distribution = total / total.sum()
    return mean


def prior_shift(answers: NDArray[np.floating], reference: NDArray[np.floating]) -> Distribution:
    """Estimate the prior in a site's answers by what must be added to other answers to give them.

    By Bayes' rule, two models that differ in nothing but the class shares of their training labels answer
    p(c | x) ~ q(c | x) pi_c / rho_c (Saerens, Latinne, Decaestecker, "Adjusting the outputs of a classifier to new a
    priori probabilities", Neural Computation 2002, equation 2.4). The b = log(pi / rho) that fits best is the minimum
    over b of mean_x KL(p(x) || softmax(log q(x) + b)), a convex problem whose gradient is the difference of the mean
    answers; rho is taken as uniform.

    Args:
        answers: (N, C) probabilities of the site.
        reference: (N, C) probabilities of others about the same images.

    Returns:
        (C,) shares.
    """
    from scipy.optimize import minimize

    wanted = mean_answer(answers)
    logs = np.log(np.maximum(reference.astype(np.float64), SMALLEST))

    def objective(shift: Distribution) -> tuple[float, Distribution]:
        moved = logs + shift
        largest = moved.max(axis=1, keepdims=True)
        weights = np.exp(moved - largest)
        normaliser = weights.sum(axis=1, keepdims=True)
        value = float((np.log(normaliser) + largest).mean() - wanted @ shift)
        return value, (weights / normaliser).mean(axis=0) - wanted

    bounds = [(-LARGEST_SHIFT, LARGEST_SHIFT)] * len(wanted)
    found = minimize(objective, np.zeros(len(wanted)), jac=True, method="L-BFGS-B", bounds=bounds).x
    odds: Distribution = np.exp(found - found.max())
    shares: Distribution = odds / odds.sum()
    return shares


def from_competences(competences: NDArray[np.floating]) -> Distribution | None:
    """Return the shares of the images that competences m / (m + 10) stand for; None where they stand for none."""
    images = DOUBT * competences.astype(np.float64) / np.maximum(1 - competences.astype(np.float64), SMALLEST)
    return images / images.sum() if images.sum() > 0 else None


def from_confusion(confusion: NDArray[np.integer]) -> Distribution | None:
    """Return the class shares of the test images that a confusion matrix counts; None where it counts none.

    `mdhfl prepare` draws training and test part with the same shares.
    """
    counts: Distribution = confusion.sum(axis=1).astype(np.float64)
    return counts / counts.sum() if counts.sum() > 0 else None


def without(estimate: Distribution, *, missing: NDArray[np.bool_]) -> Distribution:
    """Return an estimate in which classes that the site says it lacks have no share."""
    kept: Distribution = np.where(missing, 0.0, estimate)
    return kept / kept.sum() if kept.sum() > 0 else estimate
