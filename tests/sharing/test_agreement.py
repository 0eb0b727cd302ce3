"""How far sites agree, against SciPy and literal loops, and what does and does not change it."""

import os
import subprocess
import sys
from itertools import permutations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import spearmanr

from mdhfl.sharing.agreement import (
    agreement_with,
    correlation,
    correlations,
    distance,
    fits_of,
    is_flat,
    log_ratios,
    nearest,
    ranked,
    renamed,
    swapped,
    teacher_has_fallen,
    upper_median,
)
from mdhfl.sharing.knowledge import Kind, Knowledge, Subject


def said(values: object, *, kind: Kind = "probabilities") -> Knowledge:
    rows = np.asarray(values, dtype=np.float32)
    classes = tuple(f"c{c}" for c in range(rows.shape[1]))
    subject = Subject(kind=kind, public_digest="0" * 64, public_count=len(rows), classes=classes)
    return Knowledge(values=rows, subject=subject, site="a", round=1)


def drawn(seed: int, *, images: int = 12, classes: int = 4) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.full(classes, 0.6), size=images)


@pytest.mark.parametrize("seed", range(5))
def test_the_correlation_is_spearmans_mean_over_the_classes(seed: int) -> None:
    one, other = (log_ratios(said(drawn(s))).round(1) for s in (seed, seed + 100))  # rounded: there are equal values
    literal = np.mean([spearmanr(one[:, c], other[:, c]).statistic for c in range(4)])
    assert correlation(ranked(one), ranked(other)) == pytest.approx(literal)


def test_a_class_of_which_a_site_always_says_the_same_agrees_with_nobody() -> None:
    flat = ranked(np.full((6, 3), 0.25))
    np.testing.assert_array_equal(flat, 0)
    assert correlation(flat, ranked(drawn(1, images=6, classes=3))) == 0


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 999), temperature=st.floats(0.2, 5), shift=st.lists(st.floats(-3, 3), min_size=4, max_size=4)
)
def test_another_mix_of_classes_or_sharpness_changes_no_rank(seed: int, temperature: float, shift: list[float]) -> None:
    """A prior shifts all log ratios of a class alike: ranks over images stay."""
    values = drawn(seed).clip(1e-3)
    logits = temperature * np.log(values) + np.array(shift)
    other = np.exp(logits - logits.max(axis=1, keepdims=True))
    own = said(values / values.sum(axis=1, keepdims=True))
    changed = said(other / other.sum(axis=1, keepdims=True))
    assert agreement_with(changed.values, own=own) > 0.97


def test_logits_are_read_as_they_are_and_probabilities_by_their_logarithm() -> None:
    logits = np.random.default_rng(3).normal(size=(9, 3))
    rows = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(log_ratios(said(logits, kind="logits")), log_ratios(said(rows)), atol=1e-5)
    assert distance(said(logits, kind="logits"), said(rows)) == pytest.approx(0, abs=1e-6)


def test_pairs_are_symmetric_and_complete() -> None:
    ranks = {site: ranked(log_ratios(said(drawn(k)))) for k, site in enumerate("abc")}
    found = correlations(ranks)
    assert {site: set(others) for site, others in found.items()} == {"a": {"b", "c"}, "b": {"a", "c"}, "c": {"a", "b"}}
    for one, other in ("ab", "bc", "ca"):
        assert found[one][other] == pytest.approx(correlation(ranks[one], ranks[other]))
        assert found[one][other] == pytest.approx(found[other][one])


def test_other_names_fit_better_where_classes_are_permuted_and_not_where_they_are_not() -> None:
    truth = ranked(log_ratios(said(drawn(5, images=60))))
    assert renamed(fits_of(truth, [truth, truth])) == pytest.approx(0)
    moved = np.roll(truth, 1, axis=1)
    fits = fits_of(moved, [truth, truth])
    np.testing.assert_allclose(fits, [[spearmanr(a, b).statistic for b in truth.T] for a in moved.T])
    literal = max(np.mean([fits[c, names[c]] - fits[c, c] for c in range(4)]) for names in permutations(range(4)))
    assert renamed(fits) == pytest.approx(literal)
    assert literal > 0.9


@given(arrays(np.float64, (5, 5), elements=st.floats(-1, 1)))
def test_each_class_gets_one_name_and_each_name_one_class(fits: Any) -> None:
    ways = permutations(range(5))
    literal = max(sum(fits[c, d] - fits[c, c] for c, d in enumerate(names)) / 5 for names in ways)
    assert renamed(fits) == pytest.approx(literal)


def test_what_other_names_gain_is_the_same_to_the_last_bit_in_every_process() -> None:
    """Python hashes texts anew in every process, and sets come in the order of hashes."""
    code = (
        "import numpy as np; from mdhfl.sharing.agreement import renamed; "
        "print([renamed(np.random.default_rng(seed).normal(size=(8, 8))).hex() for seed in range(40)])"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(said) == 1


def test_a_name_that_fits_several_classes_gains_for_one_only() -> None:
    assert renamed(np.array([[0.0, 0.9, 0.0], [0.0, 0.5, 0.0], [0.0, 0.9, 0.3]])) == pytest.approx((0.9 - 0.5) / 3)


def test_two_classes_look_swapped_only_if_both_gain() -> None:
    fits = np.array([[0.2, 0.9, 0.1], [0.7, 0.1, 0.0], [0.8, 0.0, 0.3]])
    literal = max(min(fits[a, b] - fits[a, a], fits[b, a] - fits[b, b]) for a in range(3) for b in range(3) if a != b)
    assert swapped(fits) == pytest.approx(literal) == pytest.approx(0.6)
    assert swapped(np.eye(3)) == pytest.approx(-1)
    assert swapped(np.ones((1, 1))) == -1


def test_the_nearest_is_the_best_class_of_the_best_other() -> None:
    one, other, third = (ranked(log_ratios(said(drawn(s)))) for s in (1, 2, 3))
    literal = max(spearmanr(one[:, c], each[:, c]).statistic for each in (other, third) for c in range(4))
    assert nearest(one, [other, third]) == pytest.approx(literal)


def test_who_says_the_same_of_every_image_is_flat() -> None:
    row = np.array([[0.7, 0.2, 0.1]])
    assert is_flat(log_ratios(said(row.repeat(5, axis=0))))
    assert not is_flat(log_ratios(said(drawn(1))))


def test_the_distance_is_half_the_sum_of_differences() -> None:
    one, other = drawn(1), drawn(2)
    literal = np.mean([sum(abs(a - b) for a, b in zip(x, y, strict=True)) / 2 for x, y in zip(one, other, strict=True)])
    assert distance(said(one), said(other)) == pytest.approx(literal, abs=1e-6)


@given(values=st.lists(st.floats(-1, 1), min_size=1, max_size=9), wrong=st.floats(-1, 1))
def test_fewer_than_half_of_the_values_cannot_pull_the_upper_median_below_all_others(
    values: list[float], wrong: float
) -> None:
    both = [*values, *[-1.0] * len(values)]
    assert upper_median(both) >= min(values)


@pytest.mark.parametrize(
    ("now", "before", "fallen"),
    [(0.3, [0.7, 0.8], True), (0.45, [0.7, 0.8], False), (-0.5, [0.2], False), (0.1, [], False)],
)
def test_a_teacher_falls_below_half_of_what_it_was(now: float, before: list[float], fallen: bool) -> None:
    assert teacher_has_fallen(now, before=before) is fallen
