"""Attacks on membership: areas, intervals, likelihood ratios against literal references; what few images allow."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from mdhfl.audit.candidates import as_noisy
from mdhfl.audit.intervals import FEWEST, separation, together
from mdhfl.audit.likelihood import balanced_halves, confidence, likelihood_ratio


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), members=st.integers(FEWEST, 60), others=st.integers(FEWEST, 60))
def test_the_area_is_scikit_learns_and_lies_in_its_interval(seed: int, members: int, others: int) -> None:
    random = np.random.default_rng(seed)
    a, b = random.normal(0.5, 1, members).round(1), random.normal(0, 1, others).round(1)  # with ties
    found = separation(a, b).auc
    assert found is not None
    truth = np.r_[np.ones(members), np.zeros(others)]
    assert found.value == pytest.approx(roc_auc_score(truth, np.r_[a, b]), abs=1e-12)
    assert 0 <= found.low <= found.value <= found.high <= 1


def test_the_interval_holds_the_true_area_in_about_95_of_100_cases() -> None:
    random = np.random.default_rng(0)
    held = 0
    for _ in range(100):  # the true area between N(1, 1) and N(0, 1) is Phi(1 / sqrt 2) = 0.7602
        found = separation(random.normal(1, 1, 80), random.normal(0, 1, 80)).auc
        assert found is not None
        held += found.low <= 0.7602 <= found.high
    assert 88 <= held <= 100


def test_found_at_few_false_positives_by_hand() -> None:
    others = np.arange(100.0)  # one may be above: the threshold is 98
    found = separation(np.array([97.0, 98.0, 98.5, 120.0] * 10), others).tpr
    assert found[0.01] is not None
    assert found[0.01].value == 0.5
    assert found[0.01].low < 0.5 < found[0.01].high
    assert found[0.001] is None  # needs 1000 others


def test_with_too_few_images_there_is_no_number() -> None:
    found = separation(np.arange(19.0), np.arange(500.0))
    assert (found.members, found.non_members, found.auc) == (19, 500, None)
    assert set(found.tpr.values()) == {None}
    nothing = together([])
    assert (nothing.members, nothing.non_members, nothing.auc) == (0, 0, None)


def test_sites_are_measured_together() -> None:
    parts = [(np.ones(15), np.zeros(12)), (np.ones(10), np.zeros(10))]
    found = together(parts)
    assert (found.members, found.non_members) == (25, 22)
    assert found.auc is not None
    assert (found.auc.value, found.auc.low, found.auc.high) == (1.0, 1.0, 1.0)


def test_confidence_is_the_log_odds_of_the_label() -> None:
    logits = np.log(np.array([[0.7, 0.2, 0.1], [0.25, 0.25, 0.5]]))
    assert confidence(logits, np.array([0, 2])) == pytest.approx([np.log(0.7 / 0.3), 0.0])
    stacked = confidence(np.stack([logits, logits]), np.array([0, 2]))
    assert stacked.shape == (2, 2)
    assert np.isfinite(confidence(np.array([[800.0, -800.0]]), np.array([1]))).all()  # p = 0 without infinity


def test_the_ratio_is_that_of_normal_densities_where_there_are_many_shadow_models() -> None:
    random = np.random.default_rng(0)
    inside = balanced_halves(50, shadows=400, random=random)
    hard, gap = random.normal(0, 3, 50), random.normal(1, 1.5, 50)  # each image has its own mean and its own gap
    shadows = hard + gap * inside + random.normal(0, 1, inside.shape)
    scores = hard + gap + random.normal(0, 1, 50)
    wanted = ((scores - hard) ** 2 - (scores - hard - gap) ** 2) / 2  # of N(hard + gap, 1) to N(hard, 1)
    assert np.abs(likelihood_ratio(scores, shadows, inside) - wanted).max() < 1.0
    assert np.corrcoef(likelihood_ratio(scores, shadows, inside), wanted)[0, 1] > 0.99


def test_calibration_finds_members_that_confidence_alone_does_not() -> None:
    random = np.random.default_rng(1)
    inside = balanced_halves(400, shadows=8, random=random)
    hard = random.normal(0, 5, 400)
    shadows = hard + 2.0 * inside + random.normal(0, 1, inside.shape)
    member = np.arange(400) < 200
    scores = hard + 2.0 * member + random.normal(0, 1, 400)
    plain, calibrated = (
        separation(s[member], s[~member]).auc for s in (scores, likelihood_ratio(scores, shadows, inside))
    )
    assert plain is not None
    assert calibrated is not None
    assert plain.value < 0.68
    assert calibrated.value > 0.85


def test_scores_that_know_nothing_hold_one_half() -> None:
    random = np.random.default_rng(2)
    inside = balanced_halves(400, shadows=4, random=random)
    ratios = likelihood_ratio(random.normal(size=400), random.normal(size=inside.shape), inside)
    found = separation(ratios[:200], ratios[200:]).auc
    assert found is not None
    assert found.low <= 0.5 <= found.high


@given(count=st.integers(2, 40), pairs=st.integers(1, 6), seed=st.integers(0, 100))
def test_every_image_is_in_half_of_the_shadow_models(count: int, pairs: int, seed: int) -> None:
    inside = balanced_halves(count, shadows=2 * pairs, random=np.random.default_rng(seed))
    assert inside.shape == (2 * pairs, count)
    assert (inside.sum(axis=0) == pairs).all()
    assert set(inside.sum(axis=1)) <= {count // 2, count - count // 2}


def test_held_out_labels_get_the_noise_of_training_labels() -> None:
    clean = np.array([0] * 3000 + [1] * 10 + [2] * 5)
    matrix = [[80, 20, 0], [0, 7, 0], [0, 0, 0]]
    noisy = as_noisy(clean, matrix, site="a")
    assert set(noisy[:3000]) == {0, 1}
    assert (noisy[:3000] == 1).mean() == pytest.approx(0.2, abs=0.03)
    assert (noisy[3000:] == clean[3000:]).all()  # class 1 has no noise, class 2 no training image
    assert (as_noisy(clean, matrix, site="a") == noisy).all()
    assert as_noisy(clean, [], site="a") is clean
