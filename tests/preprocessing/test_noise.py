"""Noise matrices are distributions, realise their rate, and come from files as they were meant."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdhfl.preprocessing.partition.noise import add_noise, confusion_counts, find_matrix, load_matrix, noise_matrix
from mdhfl.preprocessing.raw.label_spaces import load_label_space

CLASSES = ("a", "b", "c")


@given(kind=st.sampled_from(["symmetric", "pairflip"]), rate=st.floats(0, 1), count=st.integers(2, 15))
def test_rows_are_distributions_with_the_clean_label_at_one_minus_rate(kind, rate, count):
    matrix = noise_matrix(kind, rate=rate, classes=[str(i) for i in range(count)])
    assert np.allclose(matrix.sum(axis=1), 1)
    assert np.allclose(np.diag(matrix), 1 - rate)


def test_the_two_kinds_by_hand():
    assert noise_matrix("symmetric", rate=0.2, classes=CLASSES).tolist() == [
        [0.8, 0.1, 0.1],
        [0.1, 0.8, 0.1],
        [0.1, 0.1, 0.8],
    ]
    assert np.allclose(
        noise_matrix("pairflip", rate=0.3, classes=CLASSES), [[0.7, 0.3, 0], [0, 0.7, 0.3], [0.3, 0, 0.7]]
    )


@settings(max_examples=80, deadline=None)
@given(
    kind=st.sampled_from(["symmetric", "pairflip"]),
    rate=st.floats(0, 1),
    labels=st.lists(st.integers(0, 4), min_size=1, max_size=300),
    seed=st.integers(0, 999),
)
def test_every_cell_is_within_one_image_of_its_expectation(kind, rate, labels, seed):
    clean = np.array(labels)
    matrix = noise_matrix(kind, rate=rate, classes=[str(i) for i in range(5)])
    noisy = add_noise(clean, matrix=matrix, generator=np.random.default_rng(seed))
    counts = np.array(confusion_counts(clean, noisy, classes=5))
    expected = matrix * np.bincount(clean, minlength=5)[:, None]
    assert np.abs(counts - expected).max() < 1 + 1e-6
    assert (counts.sum(axis=1) == np.bincount(clean, minlength=5)).all()


def test_the_rate_is_right_in_the_mean_even_for_classes_of_two():
    clean, matrix = np.repeat(np.arange(5), 2), noise_matrix("symmetric", rate=0.2, classes=[str(i) for i in range(5)])
    rates = [(add_noise(clean, matrix=matrix, generator=np.random.default_rng(s)) != clean).mean() for s in range(800)]
    assert np.mean(rates) == pytest.approx(0.2, abs=0.015)


def test_the_same_seed_gives_the_same_labels_and_zero_changes_none():
    clean = np.arange(100) % 3
    matrix = noise_matrix("symmetric", rate=0.4, classes=CLASSES)
    first, second = (add_noise(clean, matrix=matrix, generator=np.random.default_rng(7)) for _ in range(2))
    assert (first == second).all()
    assert (add_noise(clean, matrix=np.eye(3), generator=np.random.default_rng(7)) == clean).all()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("plain.csv", "0.9,0.1,0\n0,1,0\n0,0.5,0.5\n"),
        ("named.csv", ",c,a,b\nc,0.5,0,0.5\na,0,0.9,0.1\nb,0,0,1\n"),
        ("header.csv", "a,b,c\n0.9,0.1,0\n0,1,0\n0,0.5,0.5\n"),
        ("rows.json", json.dumps([[0.9, 0.1, 0], [0, 1, 0], [0, 0.5, 0.5]])),
        (
            "named.json",
            json.dumps({"classes": ["c", "a", "b"], "matrix": [[0.5, 0, 0.5], [0, 0.9, 0.1], [0, 0, 1]]}),
        ),
    ],
)
def test_a_matrix_from_a_file_in_every_form(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    matrix = load_matrix(tmp_path / name, classes=CLASSES)
    assert np.allclose(matrix, [[0.9, 0.1, 0], [0, 1, 0], [0, 0.5, 0.5]])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0.9,0.1\n0,1\n", r"expected 3 x 3 .* got shape \(2, 2\)"),
        ("0.9,0.2,0\n0,1,0\n0,0,1\n", "every row must be a distribution"),
        ("1.1,-0.1,0\n0,1,0\n0,0,1\n", "every row must be a distribution"),
        ("a,b,x\n1,0,0\n0,1,0\n0,0,1\n", "expected the classes a, b, c"),
        ("1,0,0\n0,1,0\n0,0,x\n", "expected numbers"),
        ("1,0,0\n0,1\n0,0,1\n", "expected rows of numbers of one length"),
    ],
)
def test_a_matrix_that_does_not_fit_is_refused(tmp_path, text, message):
    (tmp_path / "m.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        load_matrix(tmp_path / "m.csv", classes=CLASSES)


@pytest.mark.parametrize(("kind", "rate"), [("symmetric", -0.1), ("pairflip", 1.5), ("salt", 0.1), ("matrix", 0.1)])
def test_bad_kinds_and_rates_are_refused(kind, rate):
    with pytest.raises(ValueError, match="noise"):
        noise_matrix(kind, rate=rate, classes=CLASSES)


def test_a_matrix_is_found_by_its_name():
    classes = load_label_space("cytomorphology13").classes
    matrix = noise_matrix("matrix", rate=0.0, classes=classes, file=Path("morphology"))
    assert matrix.shape == (13, 13)
    np.testing.assert_allclose(matrix.sum(axis=1), 1)
    banded, segmented = classes.index("neutrophil_banded"), classes.index("neutrophil_segmented")
    assert matrix[banded, segmented] == matrix[segmented, banded] == 0.25
    with pytest.raises(ValueError, match=r"noise matrix haematology: expected .* one of the names morphology"):
        find_matrix(Path("haematology"))
