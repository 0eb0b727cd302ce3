"""Splits are exact covers, stratified, and never part a group."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdhfl.preprocessing.partition.parts import split_parts, stratified_subset

FRACTIONS = (0.7, 0.1, 0.2)


@settings(max_examples=80, deadline=None)
@given(
    pool=st.lists(st.tuples(st.integers(0, 4), st.one_of(st.none(), st.integers(0, 12))), max_size=150),
    seed=st.integers(0, 99),
)
def test_parts_cover_everything_once_and_no_group_lies_in_two(pool, seed):
    labels, groups = np.array([label for label, _ in pool], dtype=np.int64), [group for _, group in pool]
    parts = split_parts(labels, fractions=FRACTIONS, groups=groups, generator=np.random.default_rng(seed))
    assert sorted(i for part in parts for i in part.tolist()) == list(range(len(pool)))
    for group in set(groups) - {None}:
        assert sum(any(groups[i] == group for i in part) for part in parts) == 1


@settings(max_examples=80, deadline=None)
@given(counts=st.lists(st.integers(0, 60), min_size=1, max_size=13), seed=st.integers(0, 99))
def test_without_groups_every_class_and_the_whole_are_split_as_asked(counts, seed):
    labels = np.repeat(np.arange(len(counts)), counts)
    parts = split_parts(labels, fractions=FRACTIONS, generator=np.random.default_rng(seed))
    for part, fraction in zip(parts, FRACTIONS, strict=True):
        got = np.bincount(labels[part], minlength=len(counts))
        assert np.abs(got - fraction * np.array(counts)).max() <= 2
    trained = set(labels[parts[0]].tolist())
    assert trained == {label for label, count in enumerate(counts) if count}


def test_the_whole_is_split_exactly_where_it_can_be():
    labels = np.repeat(np.arange(13), 100)
    sizes = [len(part) for part in split_parts(labels, fractions=FRACTIONS, generator=np.random.default_rng(0))]
    assert sizes == [910, 130, 260]


def test_a_class_with_one_image_is_trained_on():
    labels = np.array([0] * 20 + [1])
    training, validation, test = split_parts(labels, fractions=FRACTIONS, generator=np.random.default_rng(0))
    assert 1 in labels[training]
    assert 1 not in labels[validation]
    assert 1 not in labels[test]


def test_grouped_classes_are_stratified_too():
    labels = np.repeat([0, 0, 0, 1, 1], 40)
    groups = [f"g{i // 4}" for i in range(200)]
    parts = split_parts(labels, fractions=FRACTIONS, groups=groups, generator=np.random.default_rng(3))
    for part, fraction in zip(parts, FRACTIONS, strict=True):
        assert np.abs(np.bincount(labels[part]) - fraction * np.array([120, 80])).max() <= 4


@pytest.mark.parametrize("fractions", [(0.5, 0.1, 0.1), (0.0, 0.5, 0.5), (1.2, -0.1, -0.1)])
def test_fractions_must_be_shares_of_one(fractions):
    with pytest.raises(ValueError, match="fractions of the parts"):
        split_parts(np.zeros(9, dtype=np.int64), fractions=fractions, generator=np.random.default_rng(0))


@settings(max_examples=100, deadline=None)
@given(counts=st.lists(st.integers(1, 60), min_size=1, max_size=13), share=st.floats(0, 1.2), seed=st.integers(0, 99))
def test_a_subset_has_the_size_asked_for_and_keeps_every_class(counts, share, seed):
    labels = np.repeat(np.arange(len(counts)), counts)
    count = round(share * len(labels))
    chosen = stratified_subset(labels, count=count, generator=np.random.default_rng(seed))
    assert len(set(chosen.tolist())) == len(chosen) == min(count, len(labels))
    if count >= len(counts):
        assert set(labels[chosen].tolist()) == set(range(len(counts)))
