"""Partitions are exact covers, keep groups together, and honour the minimum."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdhfl.preprocessing.partition.groups import units_of
from mdhfl.preprocessing.partition.sites import by_origin, dirichlet, iid, quantity_skew

pools = st.lists(st.tuples(st.integers(0, 4), st.one_of(st.none(), st.integers(0, 9))), min_size=30, max_size=120)


def assert_partition(piles, groups):
    assert sorted(np.concatenate(piles).tolist()) == list(range(len(groups)))
    for group in set(groups) - {None}:
        assert sum(any(groups[i] == group for i in pile) for pile in piles) == 1


@settings(max_examples=60, deadline=None)
@given(pool=pools, sites=st.integers(1, 5), seed=st.integers(0, 99), alpha=st.sampled_from([0.05, 0.5, 50.0]))
def test_every_partition_covers_the_pool_once_and_keeps_groups_at_one_site(pool, sites, seed, alpha):
    labels, groups = np.array([label for label, _ in pool]), [group for _, group in pool]
    units = units_of(groups)
    if len(units) < 2 * sites:
        return
    generator = np.random.default_rng(seed)
    assert_partition(iid(units, sites=sites, generator=generator), groups)
    skewed = dirichlet(units, labels=labels, sites=sites, alpha=alpha, minimum=1, generator=generator)
    assert_partition(skewed, groups)
    assert min(map(len, skewed)) >= 1
    assert_partition(quantity_skew(units, sites=sites, alpha=alpha, minimum=1, generator=generator), groups)


def test_iid_sites_are_of_equal_size():
    piles = iid(units_of([None] * 103), sites=4, generator=np.random.default_rng(0))
    assert sorted(map(len, piles)) == [25, 26, 26, 26]


def test_dirichlet_skews_labels_and_a_large_alpha_does_not():
    labels = np.repeat(np.arange(5), 400)
    units = units_of([None] * len(labels))

    def spread(alpha):
        piles = dirichlet(units, labels=labels, sites=4, alpha=alpha, minimum=1, generator=np.random.default_rng(1))
        shares = np.array([np.bincount(labels[pile], minlength=5) for pile in piles]) / 400
        return shares.std()

    assert spread(0.1) > 0.25
    assert spread(1000.0) < 0.02


@pytest.mark.parametrize("partition", [dirichlet, quantity_skew])
def test_a_minimum_that_no_draw_reaches_is_reached_by_repair(partition):
    labels = np.repeat(np.arange(3), 40)
    more = {"labels": labels} if partition is dirichlet else {}
    piles = partition(
        units_of([None] * 120), sites=4, alpha=0.01, minimum=30, generator=np.random.default_rng(0), **more
    )
    assert list(map(len, piles)) == [30] * 4


def test_a_minimum_beyond_the_pool_says_how_much_there_is():
    with pytest.raises(
        ValueError, match=r"4 sites with at least 50 images each need 200, the pool has 120.*at most 30"
    ):
        iid(units_of([None] * 120), sites=4, minimum=50, generator=np.random.default_rng(0))


def test_groups_too_large_for_the_minimum_end_in_a_message():
    groups = np.repeat(["a", "b", "c"], 40).tolist()
    with pytest.raises(ValueError, match="the largest group has 40"):
        quantity_skew(units_of(groups), sites=2, alpha=1.0, minimum=50, generator=np.random.default_rng(0))


def test_more_sites_than_groups_is_refused():
    with pytest.raises(ValueError, match="3 sites, but only 2 images or groups"):
        iid(units_of(["a", "a", "b", "b"]), sites=3, generator=np.random.default_rng(0))


@pytest.mark.parametrize("alpha", [0.0, -1.0, float("inf"), float("nan")])
def test_alpha_must_be_a_positive_number(alpha):
    with pytest.raises(ValueError, match="alpha"):
        quantity_skew(units_of([None] * 9), sites=2, alpha=alpha, minimum=1, generator=np.random.default_rng(0))


def test_by_origin_makes_a_site_of_each_in_alphabetical_order():
    piles = by_origin(["b", "a", "b", "c"])
    assert {name: pile.tolist() for name, pile in piles.items()} == {"a": [1], "b": [0, 2], "c": [3]}
