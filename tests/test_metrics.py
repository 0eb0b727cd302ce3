"""Scores against scikit-learn's, and by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, recall_score

from mdhfl.metrics import confusion_matrix, expected_calibration_error, scores_from


@settings(max_examples=60, deadline=None)
@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
@given(seed=st.integers(0, 10_000), classes=st.integers(2, 6), count=st.integers(1, 60))
def test_scores_equal_scikit_learns(seed: int, classes: int, count: int) -> None:
    random = np.random.default_rng(seed)
    labels, answers = random.integers(classes, size=count), random.integers(classes, size=count)
    scores = scores_from(confusion_matrix(labels, answers, classes=classes), ece=0.0)
    assert scores.accuracy == pytest.approx(accuracy_score(labels, answers))
    assert scores.macro_f1 == pytest.approx(f1_score(labels, answers, average="macro", zero_division=0))
    assert scores.balanced_accuracy == pytest.approx(balanced_accuracy_score(labels, answers))
    recall = recall_score(labels, answers, labels=range(classes), average=None, zero_division=0)
    for c in range(classes):
        assert scores.recall[c] == (pytest.approx(recall[c]) if (labels == c).any() else None)


def test_confusion_matrix_has_the_truth_in_rows() -> None:
    matrix = confusion_matrix(np.array([0, 0, 1, 2]), np.array([0, 1, 1, 0]), classes=3)
    np.testing.assert_array_equal(matrix, [[1, 1, 0], [0, 1, 0], [1, 0, 0]])


def test_calibration_error_by_hand() -> None:
    """Four answers at confidence 0.9, two right: |0.9 - 0.5| = 0.4. One at 0.55, right: gap 0.45. (4*0.4 + 0.45)/5."""
    probabilities = np.array([[0.9, 0.1]] * 4 + [[0.55, 0.45]])
    labels = np.array([0, 0, 1, 1, 0])
    assert expected_calibration_error(probabilities, labels) == pytest.approx((4 * 0.4 + 0.45) / 5)


def test_a_part_without_images_scores_zero() -> None:
    scores = scores_from(np.zeros((3, 3), dtype=int), ece=0.0)
    assert (scores.accuracy, scores.macro_f1, scores.balanced_accuracy) == (0, 0, 0)
    assert scores.recall == (None, None, None)
