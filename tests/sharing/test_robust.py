"""Robust means against literal loops; and what one wrong site can and cannot do to them."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdhfl.sharing.robust import RULES, SPREAD, probabilities, robust_mean

ROBUST = [rule for rule in RULES if rule != "mean"]


def answers(seed: int, *, sites: int, images: int = 5, classes: int = 3) -> tuple[Any, Any]:
    random = np.random.default_rng(seed)
    return random.dirichlet(np.full(classes, 0.7), size=(sites, images)), random.uniform(0.05, 1, (sites, classes))


def literal_trimmed(values: list[float], weights: list[float], cut: float) -> float:
    """Lay the weights side by side in the order of their values; cut off both ends; take the mean of what is left."""
    total, start, top, kept = sum(weights), 0.0, 0.0, 0.0
    for value, weight in sorted(zip(values, weights, strict=True)):
        end = start + weight / total
        inside = max(0.0, min(end, 1 - cut) - max(start, cut))
        top, kept, start = top + inside * value, kept + inside, end
    return top / kept


def literal_median(values: list[float], weights: list[float]) -> float:
    """The middle of all m that minimise sum_k w_k |x_k - m|: they lie between two of the values."""

    def cost(middle: float) -> float:
        return sum(weight * abs(value - middle) for value, weight in zip(values, weights, strict=True))

    least = min(map(cost, values))
    best = [value for value in values if cost(value) <= least + 1e-9]
    return (min(best) + max(best)) / 2


def literal_filter(values: Any, weights: Any, cut: float) -> Any:
    """Image by image: the covariance's main direction by power iteration; its farthest answer is left out."""
    found = []
    for image in range(values.shape[1]):
        left = list(range(len(values)))
        for _ in range(int(cut * len(values) + 1e-9)):
            mean = sum(weights[k] * values[k, image] for k in left) / sum(weights[k] for k in left)
            apart = {k: np.sqrt(weights[k] / weights.max(axis=0)) * (values[k, image] - mean) for k in left}
            covariance = sum(np.outer(a, a) for a in apart.values()) / len(left)
            direction = np.linalg.svd(covariance)[0][:, 0]
            if direction @ covariance @ direction <= SPREAD:
                break
            left.remove(max(left, key=lambda k: abs(apart[k] @ direction)))
        found.append(sum(weights[k] * values[k, image] for k in left) / sum(weights[k] for k in left))
    return np.array(found)


@pytest.mark.parametrize("sites", [1, 2, 3, 4, 5, 8])
@pytest.mark.parametrize("alike", [True, False])
@pytest.mark.parametrize("cut", [0.0, 0.2, 0.4])
def test_each_mean_is_its_literal_loop(sites: int, alike: bool, cut: float) -> None:
    values, weights = answers(sites, sites=sites)
    if alike:
        weights = np.ones_like(weights)
    found = {rule: robust_mean(values, weights=weights, rule=rule, cut=cut) for rule in RULES}
    for image in range(values.shape[1]):
        for c in range(values.shape[2]):
            column, own = values[:, image, c].tolist(), weights[:, c].tolist()
            assert found["mean"][image, c] == pytest.approx(np.average(column, weights=own))
            assert found["trimmed"][image, c] == pytest.approx(literal_trimmed(column, own, cut))
            assert found["median"][image, c] == pytest.approx(literal_median(column, own))
    np.testing.assert_allclose(found["filter"], literal_filter(values, weights, cut), atol=1e-9)


def test_nothing_cut_off_is_the_mean() -> None:
    values, weights = answers(3, sites=5)
    for rule in ("trimmed", "filter"):
        mean = robust_mean(values, weights=weights, rule="mean", cut=0)
        np.testing.assert_allclose(robust_mean(values, weights=weights, rule=rule, cut=0), mean)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 999), honest=st.integers(2, 6), rule=st.sampled_from(["trimmed", "median"]))
def test_a_minority_cannot_leave_the_range_of_the_honest(seed: int, honest: int, rule: str) -> None:
    values, _ = answers(seed, sites=honest)
    wrong = np.random.default_rng(seed).integers(0, 2, (1, *values.shape[1:])) * 1e6 - 5e5
    both = np.concatenate([values, wrong])
    found = robust_mean(both, weights=np.ones((honest + 1, values.shape[2])), rule=rule, cut=0.4)
    assert (found >= values.min(axis=0) - 1e-9).all()
    assert (found <= values.max(axis=0) + 1e-9).all()


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 999), honest=st.integers(2, 6))
def test_a_filter_leaves_out_who_is_far_from_all_others(seed: int, honest: int) -> None:
    values, _ = answers(seed, sites=honest)
    near = 0.9 * values[:1] + 0.1 * values  # the honest agree more or less
    both = np.concatenate([near, np.full_like(near[:1], 30.0)])
    found = robust_mean(both, weights=np.ones((honest + 1, values.shape[2])), rule="filter", cut=0.4)
    assert (found <= near.max(axis=0) + 1e-9).all()


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 999), order=st.permutations(range(5)), rule=st.sampled_from(RULES))
def test_the_order_of_sites_does_not_matter(seed: int, order: list[int], rule: str) -> None:
    values, weights = answers(seed, sites=5)
    found = robust_mean(values, weights=weights, rule=rule, cut=0.3)
    shuffled = robust_mean(values[order], weights=weights[order], rule=rule, cut=0.3)
    np.testing.assert_allclose(found, shuffled, atol=1e-9)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 999), sites=st.integers(1, 7), rule=st.sampled_from(RULES))
def test_where_all_agree_every_rule_is_the_mean(seed: int, sites: int, rule: str) -> None:
    values, weights = answers(seed, sites=sites)
    alike = np.repeat(values[:1], sites, axis=0)
    np.testing.assert_allclose(robust_mean(alike, weights=weights, rule=rule, cut=0.4), values[0], atol=1e-9)


@pytest.mark.parametrize("rule", ROBUST)
def test_two_answers_have_no_minority_and_give_their_mean(rule: str) -> None:
    values, _ = answers(1, sites=2)
    found = robust_mean(values, weights=np.ones((2, 3)), rule=rule, cut=0.4)
    np.testing.assert_allclose(found, values.mean(axis=0))


def test_who_alone_vouches_for_a_class_is_not_outvoted() -> None:
    values = np.array([[[0.1, 0.9]], [[0.5, 0.5]], [[0.6, 0.4]], [[0.7, 0.3]]])
    weights = np.array([[0.001, 0.9], [0.5, 0.001], [0.5, 0.001], [0.5, 0.001]])
    for rule in ("trimmed", "median"):
        assert robust_mean(values, weights=weights, rule=rule, cut=0.4)[0, 1] == pytest.approx(0.9)


def test_rows_are_brought_to_sum_one_even_where_nobody_agrees_on_any_class() -> None:
    rows = probabilities(np.array([[0.0, 0.0, 0.0], [0.2, 0.2, 0.0]]))
    np.testing.assert_allclose(rows, [[1 / 3, 1 / 3, 1 / 3], [0.5, 0.5, 0.0]], atol=1e-6)
