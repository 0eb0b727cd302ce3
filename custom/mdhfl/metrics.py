"""Scores of a classifier, all derived from its confusion matrix (and its probabilities for calibration). Numpy only."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Score:
    """How a score is called, everywhere.

    Attributes:
        title: for figures and headings.
        short: for the head of a narrow column.
        meaning: one sentence for readers.
    """

    title: str
    short: str
    meaning: str


# Every score that is recorded, by name; each in [0, 1]. In tables that are marked so, in per cent.
SCORES: dict[str, Score] = {
    "accuracy": Score(
        title="Accuracy",
        short="accuracy",
        meaning="Share of test images that are classified correctly. Frequent classes dominate it.",
    ),
    "macro_f1": Score(
        title="Macro-F1",
        short="macro-F1",
        meaning=("Mean over classes of F1, the harmonic mean of precision and recall: each class counts the same."),
    ),
    "balanced_accuracy": Score(
        title="Balanced accuracy",
        short="balanced acc.",
        meaning=("Mean of the recalls of the classes that occur in the test part: each class counts the same."),
    ),
    "ece": Score(
        title="Expected calibration error",
        short="ECE",
        meaning="Mean gap between a model's confidence and its accuracy; 0 is perfect.",
    ),
}
HEADLINES = ("accuracy", "macro_f1", "balanced_accuracy")  # the scores of right answers: higher is better
# A comparison's own: only where all sites are simulated in one place can a site be tested on what it never saw.
UNSEEN_RECALL = Score(
    title="Recall of unseen classes",
    short="unseen recall",
    meaning="Mean recall of the classes that a site has no training image of.",
)
# Images for the interval of a gain: resampling fewer says nothing. Of one image it would have no width, and one of two
# models that are equally good would be called worse whenever the other alone is right about it.
FEWEST_FOR_INTERVAL = 20


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Scores on one labelled part of the data.

    Attributes:
        accuracy: share of right answers, in [0, 1].
        macro_f1: mean F1 over the classes that occur as truth or as answer, in [0, 1].
        balanced_accuracy: mean recall over the classes that occur as truth, in [0, 1].
        ece: expected calibration error, in [0, 1].
        recall: per class, None for a class that does not occur as truth.
        confusion: C x C counts, rows the true class, columns the answer.
    """

    accuracy: float
    macro_f1: float
    balanced_accuracy: float
    ece: float
    recall: tuple[float | None, ...]
    confusion: tuple[tuple[int, ...], ...]


def confusion_matrix(labels: NDArray[np.integer], answers: NDArray[np.integer], *, classes: int) -> NDArray[np.int64]:
    """Count (classes, classes) pairs of true class (row) and answer (column) over two (M,) vectors."""
    return np.bincount(labels * classes + answers, minlength=classes * classes).reshape(classes, classes)


def smallest_counts(confusion: NDArray[np.integer]) -> NDArray[np.unsignedinteger]:
    """Return counts in the smallest unsigned type that holds them: what travels should be small."""
    counts: NDArray[np.unsignedinteger] = confusion.astype(np.min_scalar_type(int(confusion.max(initial=0))))
    return counts


def expected_calibration_error(
    probabilities: NDArray[np.floating], labels: NDArray[np.integer], *, bins: int = 15
) -> float:
    """Mean gap between confidence and accuracy over equal-width bins of confidence, weighted by their size.

    Args:
        probabilities: (M, C), rows sum to 1.
        labels: (M,) class indices.
        bins: number of bins over (0, 1].

    Returns:
        A number in [0, 1]; 0 where there are no images.

    Source: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, equation 3.
    """
    if len(labels) == 0:
        return 0.0
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = (probabilities.argmax(axis=1) == labels).astype(np.float64)
    bin_of = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    gap = np.bincount(bin_of, weights=right - confidence, minlength=bins)
    return float(np.abs(gap).sum() / len(labels))


def scores_from(confusion: NDArray[np.integer], *, ece: float) -> Scores:
    """Derive all scores from a (C, C) confusion matrix (rows true, columns answered).

    A part without images scores 0 everywhere and has no recall.
    """
    matrix = np.asarray(confusion, dtype=np.int64)
    right, truth, answered = matrix.diagonal(), matrix.sum(axis=1), matrix.sum(axis=0)
    present, seen = truth > 0, (truth + answered) > 0
    recall = np.divide(right, truth, out=np.zeros(len(matrix)), where=present)
    f1 = np.divide(2 * right, truth + answered, out=np.zeros(len(matrix)), where=seen)
    return Scores(
        accuracy=float(right.sum() / max(matrix.sum(), 1)),
        macro_f1=float(f1[seen].mean()) if seen.any() else 0.0,
        balanced_accuracy=float(recall[present].mean()) if present.any() else 0.0,
        ece=ece,
        recall=tuple(float(r) if p else None for r, p in zip(recall, present, strict=True)),
        confusion=tuple(tuple(int(n) for n in row) for row in matrix),
    )


def macro_f1_gain(
    labels: NDArray[np.integer],
    answers: NDArray[np.integer],
    others: NDArray[np.integer],
    *,
    classes: int,
    resamples: int = 1000,
    seed: int = 0,
) -> tuple[float, float, float]:
    """Compare two models on the same images: the difference in macro-F1, and its interval over the images.

    Args:
        labels: (M,) true classes.
        answers: (M,) of the model in question.
        others: (M,) of the model that it is compared with.
        classes: C.
        resamples: of the paired bootstrap.
        seed: of the bootstrap.

    Returns:
        Difference, and the lower and upper end of its 95 % percentile interval, each in [-1, 1]. Below
        `FEWEST_FOR_INTERVAL` images the interval is (-1, 1), which tells nothing; without images the difference is 0.

    Source: Efron, Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13.
    """
    count = len(labels)
    if not count:
        return 0.0, -1.0, 1.0
    drawn = np.random.default_rng(seed).integers(count, size=(resamples, count))
    drawn = np.concatenate([np.arange(count)[None], drawn])  # first the images as they are

    def macro_f1(answered: NDArray[np.integer]) -> NDArray[np.float64]:
        pairs = (labels * classes + answered)[drawn] + np.arange(len(drawn))[:, None] * classes**2
        counts = np.bincount(pairs.ravel(), minlength=len(drawn) * classes**2).reshape(-1, classes, classes)
        right, both = counts.diagonal(axis1=1, axis2=2), counts.sum(axis=1) + counts.sum(axis=2)
        f1 = np.divide(2 * right, both, out=np.zeros(both.shape), where=both > 0)
        means: NDArray[np.float64] = f1.sum(axis=1) / (both > 0).sum(axis=1)
        return means

    gains = macro_f1(answers) - macro_f1(others)
    if count < FEWEST_FOR_INTERVAL:
        return float(gains[0]), -1.0, 1.0
    low, high = np.quantile(gains[1:], [0.025, 0.975])
    return float(gains[0]), float(low), float(high)
