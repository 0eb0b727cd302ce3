"""Properties of the algebra: one matrix is enough, order does not matter, equal sites are a fixed point."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdhfl.sharing.knowledge import Knowledge, Subject
from mdhfl.sharing.teaching import leave_one_out, sharpened, weighted_sum

SUBJECT = Subject(kind="probabilities", public_digest="d" * 64, public_count=6, classes=("a", "b", "c"))


def knowledge_of(site: str, *, seed: int, number: int = 1) -> Knowledge:
    values = np.random.default_rng(seed).dirichlet([0.3, 1, 2], size=6).astype(np.float32)
    return Knowledge(values=values, subject=SUBJECT, site=site, round=number)


def sites_of(count: int, seed: int) -> dict[str, Knowledge]:
    return {f"site-{i}": knowledge_of(f"site-{i}", seed=seed + i) for i in range(count)}


@settings(max_examples=60, deadline=None)
@given(count=st.integers(2, 8), seed=st.integers(0, 1000), data=st.data())
def test_subtracting_ones_share_leaves_the_weighted_mean_of_the_others(
    count: int, seed: int, data: st.DataObject
) -> None:
    sites = sites_of(count, seed)
    weights = {site: data.draw(st.floats(0.1, 5)) for site in sites}
    teaching = weighted_sum(sites, weights=weights)
    for site in sites:
        others = [name for name in sites if name != site]
        expected = np.average([sites[n].values for n in others], axis=0, weights=[weights[n] for n in others])
        teacher = leave_one_out(teaching, own=sites[site], site=site)
        assert teacher is not None
        np.testing.assert_allclose(teacher, expected, atol=2e-5)
        np.testing.assert_allclose(teacher.sum(axis=1), 1, atol=1e-5)
        assert teacher.min() >= 0


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), order=st.permutations(range(5)))
def test_the_order_of_sites_does_not_matter_to_the_last_bit(seed: int, order: list[int]) -> None:
    sites = sites_of(5, seed)
    shuffled = {f"site-{i}": sites[f"site-{i}"] for i in order}
    ones = dict.fromkeys(sites, 1.0)
    np.testing.assert_array_equal(weighted_sum(sites, weights=ones).values, weighted_sum(shuffled, weights=ones).values)


def test_identical_sites_are_a_fixed_point() -> None:
    one = knowledge_of("site-0", seed=7)
    sites = {f"site-{i}": Knowledge(values=one.values, subject=SUBJECT, site=f"site-{i}", round=1) for i in range(4)}
    teacher = leave_one_out(weighted_sum(sites, weights=dict.fromkeys(sites, 1.0)), own=sites["site-2"], site="site-2")
    np.testing.assert_allclose(teacher, one.values, atol=1e-6)


def test_a_site_that_is_not_in_the_sum_subtracts_nothing() -> None:
    sites = sites_of(3, 1)
    teaching = weighted_sum(sites, weights=dict.fromkeys(sites, 1.0))
    teacher = leave_one_out(teaching, own=None, site="late")
    np.testing.assert_allclose(teacher, np.mean([k.values for k in sites.values()], axis=0), atol=1e-6)


def test_a_site_alone_has_no_teacher() -> None:
    sites = sites_of(1, 1)
    assert leave_one_out(weighted_sum(sites, weights={"site-0": 1.0}), own=sites["site-0"], site="site-0") is None


@pytest.mark.parametrize("own", [None, knowledge_of("site-0", seed=1, number=0)])
def test_a_site_that_lost_its_share_is_refused(own: Knowledge | None) -> None:
    sites = sites_of(3, 1)
    teaching = weighted_sum(sites, weights=dict.fromkeys(sites, 1.0))
    with pytest.raises(ValueError, match=r"site 'site-0'.*round 1.*it has kept"):
        leave_one_out(teaching, own=own, site="site-0")


@given(st.integers(0, 10**6), st.sampled_from([0.05, 0.5, 0.9, 1.0]))
def test_a_sharpened_teacher_is_the_literal_power_and_says_the_same_more_surely(seed: int, temperature: float) -> None:
    rows = np.random.default_rng(seed).dirichlet([0.3] * 5, size=4) + 1e-9
    rows /= rows.sum(axis=1, keepdims=True)
    ours = sharpened(rows, temperature=temperature)
    for row, sharp in zip(rows, ours, strict=True):
        powers = [math.exp(math.log(p) / temperature - math.log(max(row)) / temperature) for p in row]
        np.testing.assert_allclose(sharp, [power / sum(powers) for power in powers], rtol=1e-4, atol=1e-7)
        assert sharp.argmax() == row.argmax()
        assert sharp.max() >= row.max() - 1e-6
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours.sum(axis=1), 1, rtol=1e-5)


def test_a_row_of_tiny_numbers_does_not_vanish_when_sharpened() -> None:
    rows = np.array([[1e-30, 2e-30, 0.0]], dtype=np.float32)
    np.testing.assert_allclose(sharpened(rows, temperature=0.5), [[0.2, 0.8, 0.0]], rtol=1e-6)
