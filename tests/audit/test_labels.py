"""A label distribution is told from answers that were made from a known one; errors against literal numbers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdhfl.audit.labels import (
    audit_labels,
    distribution_of,
    from_competences,
    from_confusion,
    mean_answer,
    prior_shift,
    total_variation,
    without,
)


def answers_under(prior: np.ndarray, likelihood: np.ndarray) -> np.ndarray:
    """Bayes' rule, literally: rows proportional to likelihood times prior."""
    joint = likelihood * prior
    return joint / joint.sum(axis=1, keepdims=True)


def test_numbers_by_hand() -> None:
    assert distribution_of(np.array([0, 0, 2, 2, 2]), classes=4).tolist() == [0.4, 0.0, 0.6, 0.0]
    assert total_variation(np.array([0.4, 0.0, 0.6]), np.array([0.1, 0.3, 0.6])) == pytest.approx(0.3)
    assert mean_answer(np.array([[0.9, 0.1], [0.5, 0.5]])).tolist() == pytest.approx([0.7, 0.3])
    missing = np.array([False, True, False])
    assert without(np.array([0.5, 0.25, 0.25]), missing=missing) == pytest.approx([2 / 3, 0, 1 / 3])
    competences = np.array([0.5, 0.0, 0.75], dtype=np.float32)  # of 10, 0 and 30 images
    assert from_competences(competences) == pytest.approx([0.25, 0.0, 0.75])
    assert from_competences(np.zeros(3, dtype=np.float32)) is None
    assert from_confusion(np.array([[3, 1], [0, 12]])).tolist() == [0.25, 0.75]
    assert from_confusion(np.zeros((2, 2), dtype=int)) is None


def test_the_best_of_all_estimates_counts_and_none_is_none() -> None:
    truth = np.array([0.5, 0.5, 0.0, 0.0])
    found = audit_labels(truth, {"near": np.array([0.4, 0.5, 0.1, 0.0]), "far": np.array([0.0, 0.0, 0.5, 0.5])})
    assert (found.best, found.error, found.uniform) == ("near", pytest.approx(0.1), 0.5)
    assert found.errors["far"] == 1.0
    nothing = audit_labels(truth, {})
    assert (nothing.best, nothing.error) == (None, None)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), classes=st.integers(2, 6))
def test_the_prior_in_answers_is_found_whatever_the_public_images_are(seed: int, classes: int) -> None:
    random = np.random.default_rng(seed)
    likelihood = random.dirichlet(np.full(classes, 0.5), size=200) + 1e-4
    prior = random.dirichlet(np.full(classes, 2.0)) * 0.99 + 0.01 / classes
    reference = answers_under(np.full(classes, 1 / classes), likelihood)
    answers = answers_under(prior, likelihood)
    assert total_variation(prior_shift(answers, reference), prior) < 0.01
    assert total_variation(prior_shift(reference, reference), np.full(classes, 1 / classes)) < 0.01


def test_answers_that_carry_no_prior_tell_no_more_than_a_uniform_guess() -> None:
    random = np.random.default_rng(0)
    likelihood = random.dirichlet(np.full(4, 0.5), size=400)
    truth = np.array([0.7, 0.1, 0.1, 0.1])
    free = answers_under(np.full(4, 0.25), likelihood)
    found = audit_labels(truth, {"mean": mean_answer(free), "shift": prior_shift(free, free)})
    assert found.error == pytest.approx(found.uniform, abs=0.05)
