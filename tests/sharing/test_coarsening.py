"""Coarser answers: each function against a loop written from its definition, and what must be true of any rows."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mdhfl.sharing.coarsening import (
    MOST_BITS,
    capped,
    images_left_out,
    left_out,
    on_grid,
    softened,
    top_classes,
    whole_units,
)
from mdhfl.sharing.knowledge import ROW_SUM_TOLERANCE

ROWS = np.array([[0.7, 0.2, 0.06, 0.04], [0.25, 0.25, 0.25, 0.25], [1.0, 0.0, 0.0, 0.0], [0.4, 0.4, 0.1, 0.1]], "f4")


@st.composite
def rows(draw: st.DrawFn) -> NDArray[np.float32]:
    count, classes = draw(st.integers(1, 6)), draw(st.integers(2, 7))
    logits = draw(st.lists(st.floats(-60, 60, width=32), min_size=count * classes, max_size=count * classes))
    values = np.exp(np.array(logits, dtype=np.float64).reshape(count, classes))
    return (values / values.sum(axis=1, keepdims=True)).astype(np.float32)


def is_knowledge(values: NDArray[np.floating], like: NDArray[np.floating]) -> None:
    assert values.shape == like.shape
    assert np.isfinite(values).all()
    assert (values >= 0).all()
    assert np.abs(values.sum(axis=1, dtype=np.float64) - 1).max() <= ROW_SUM_TOLERANCE


# literal references, a row at a time


def softened_row(row: list[float], temperature: float) -> list[float]:
    powers = [p ** (1 / temperature) if p else 0.0 for p in row]
    return [p / sum(powers) for p in powers]


def top_row(row: list[float], count: int) -> list[float]:
    kept = sorted(range(len(row)), key=lambda c: (-row[c], c))[:count]
    others = [c for c in range(len(row)) if c not in kept]
    rest = sum(row[c] for c in others)
    return [row[c] if c in kept else rest / len(others) for c in range(len(row))]


def capped_row(row: list[float], largest: float) -> list[float]:
    most, even = max(row), 1 / len(row)
    share = 1.0 if most <= largest else (largest - even) / (most - even)
    return [share * p + (1 - share) * even for p in row]


def grid_row(row: list[float], bits: int, largest: float) -> list[float]:
    units = 2**bits - 1
    most = math.floor(largest * units + 1e-9)
    exact = [p / sum(row) * units for p in row]
    given_ = [min(math.floor(each + 1e-6), most) for each in exact]
    while sum(given_) < units:
        free = [c for c in range(len(row)) if given_[c] < most]
        best = max(free, key=lambda c: (exact[c] - given_[c], -c))
        given_[best] += 1
    return [g / units for g in given_]


@pytest.mark.parametrize("temperature", [1.5, 2.0, 10.0])
def test_temperature_is_the_softmax_of_divided_logits(temperature: float) -> None:
    logits = np.random.default_rng(0).normal(0, 3, size=(9, 5))
    warm = np.exp(logits / temperature)
    found = softened(np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), temperature=temperature)
    np.testing.assert_allclose(found, warm / warm.sum(axis=1, keepdims=True), atol=1e-6)


@settings(deadline=None)
@given(values=rows(), temperature=st.floats(1.01, 100), count=st.integers(1, 8), bits=st.integers(1, MOST_BITS))
def test_each_is_its_literal_loop_and_stays_knowledge(
    values: NDArray[np.float32], temperature: float, count: int, bits: int
) -> None:
    plain = [[float(p) for p in row] for row in values]
    warm = softened(values, temperature=temperature)
    np.testing.assert_allclose(warm, [softened_row(row, temperature) for row in plain], atol=1e-5)
    is_knowledge(warm, values)
    top = top_classes(values, count=count)
    if count < values.shape[1]:
        np.testing.assert_allclose(top, [top_row(row, count) for row in plain], atol=1e-5)
    else:
        np.testing.assert_allclose(top, values, atol=1e-6)
    is_knowledge(top, values)
    grid = on_grid(values, bits=bits)
    is_knowledge(grid, values)
    units = grid.astype(np.float64) * (2**bits - 1)
    np.testing.assert_allclose(units, units.round(), atol=1e-4)
    assert (units.round().sum(axis=1) == 2**bits - 1).all()  # exactly, in units
    assert np.abs(grid - values).max() < 1 / (2**bits - 1) + 1e-6


@settings(deadline=None)
@given(values=rows(), above=st.floats(0.01, 0.99))
def test_a_cap_is_its_literal_loop_holds_and_keeps_the_order(values: NDArray[np.float32], above: float) -> None:
    even = 1 / values.shape[1]
    largest = even + above * (1 - even)
    found = capped(values, largest=largest)
    expected = [capped_row([float(p) for p in row], largest) for row in values]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    is_knowledge(found, values)
    assert found.max() <= largest + 1e-6
    assert all(np.array_equal(f[np.argsort(v, kind="stable")], np.sort(f)) for f, v in zip(found, values, strict=True))


@settings(deadline=None)
@given(values=rows(), bits=st.integers(1, MOST_BITS), count=st.integers(1, 8), above=st.floats(0.05, 0.95))
def test_what_is_coarse_already_stays(values: NDArray[np.float32], bits: int, count: int, above: float) -> None:
    largest = 1 / values.shape[1] + above * (1 - 1 / values.shape[1])
    grid = on_grid(values, bits=bits)
    np.testing.assert_array_equal(on_grid(grid, bits=bits), grid)
    np.testing.assert_array_equal(on_grid(grid.astype(np.float16), bits=bits), grid)  # as it travels
    top = top_classes(values, count=count)
    np.testing.assert_allclose(top_classes(top, count=count), top, atol=1e-6)
    cap = capped(values, largest=largest)
    np.testing.assert_allclose(capped(cap, largest=largest), cap, atol=1e-6)


@settings(deadline=None)
@given(values=rows(), bits=st.integers(2, MOST_BITS), above=st.floats(0.3, 1))
def test_a_grid_keeps_to_a_cap(values: NDArray[np.float32], bits: int, above: float) -> None:
    largest = 1 / values.shape[1] + above * (1 - 1 / values.shape[1])
    if whole_units(largest, bits=bits) * values.shape[1] < 2**bits - 1:
        return
    capped_first = capped(values, largest=largest)
    found = on_grid(capped_first, bits=bits, largest=largest)
    assert found.max() <= largest + 1e-6
    is_knowledge(found, values)
    expected = [grid_row([float(p) for p in row], bits, largest) for row in capped_first]
    assert np.abs(found - np.array(expected)).max() <= 1 / (2**bits - 1) + 1e-6  # equal remainders may differ by float


def test_a_grid_is_the_largest_remainder() -> None:
    """3 bits, 7 units: 0.7 has 4.9, 0.2 has 1.4, 0.06 has 0.42, 0.04 has 0.28; two are left: to .9 and .42."""
    found = on_grid(ROWS, bits=3)
    np.testing.assert_allclose(found[0] * 7, [5, 1, 1, 0], atol=1e-5)
    np.testing.assert_allclose(found[1] * 7, [2, 2, 2, 1], atol=1e-5)
    np.testing.assert_allclose(found, [grid_row([float(p) for p in row], 3, 1.0) for row in ROWS], atol=1e-6)


def test_one_bit_is_the_name_of_the_likeliest_class() -> None:
    np.testing.assert_array_equal(on_grid(ROWS, bits=1), [[1, 0, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0]])


def test_images_are_left_out_in_all_views() -> None:
    silent = np.array([True, False])
    views = np.tile(ROWS[[0, 2]], (3, 1))
    found = left_out(views, images=silent, kind="probabilities")
    np.testing.assert_array_equal(found[[0, 2, 4]], np.full((3, 4), 0.25))
    np.testing.assert_array_equal(found[[1, 3, 5]], views[[1, 3, 5]])
    np.testing.assert_array_equal(left_out(views, images=silent, kind="logits")[[0, 2, 4]], np.zeros((3, 4)))


@given(count=st.integers(1, 300), answered=st.floats(0.001, 0.999), seed=st.integers(0, 2**62))
def test_so_many_images_are_answered_and_others_in_another_round(count: int, answered: float, seed: int) -> None:
    silent = images_left_out(count, answered=answered, seed=seed)
    assert (~silent).sum() == max(1, round(answered * count))
    np.testing.assert_array_equal(silent, images_left_out(count, answered=answered, seed=seed))


def test_another_seed_answers_other_images() -> None:
    assert (images_left_out(100, answered=0.5, seed=0) != images_left_out(100, answered=0.5, seed=1)).any()
