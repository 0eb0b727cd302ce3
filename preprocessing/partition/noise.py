"""Label noise with a known confusion matrix: symmetric, pair flip, or any row-stochastic matrix from a file."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mdhfl.files import shipped_folder

NOISE_KINDS = ("none", "symmetric", "pairflip", "matrix")

Matrix = NDArray[np.float64]  # (C, C): row = clean class, column = probability of the label that is given
Labels = NDArray[np.int64]


def symmetric_matrix(rate: float, *, classes: int) -> Matrix:
    """P_ii = 1 - rate, every other class rate / (C - 1)."""
    _check_rate(rate, classes)
    matrix = np.full((classes, classes), rate / max(classes - 1, 1))
    np.fill_diagonal(matrix, 1 - rate)
    return matrix


def pairflip_matrix(rate: float, *, classes: int) -> Matrix:
    """Class i becomes i + 1 (the last one the first) with probability rate."""
    _check_rate(rate, classes)
    return (1 - rate) * np.eye(classes) + rate * np.roll(np.eye(classes), 1, axis=1)


def noise_matrix(kind: str, *, rate: float, classes: Sequence[str], file: Path | None = None) -> Matrix:
    """The (C, C) confusion matrix of a kind of noise.

    Raises:
        ValueError: unknown kind, a rate outside 0..1, or a file that does not fit.
    """
    if kind == "none":
        return np.eye(len(classes))
    if kind == "symmetric":
        return symmetric_matrix(rate, classes=len(classes))
    if kind == "pairflip":
        return pairflip_matrix(rate, classes=len(classes))
    if kind == "matrix":
        if file is None:
            raise ValueError("noise 'matrix' needs a file: give a CSV or JSON with --noise-matrix")
        return load_matrix(find_matrix(file), classes=classes)
    raise ValueError(f"unknown noise {kind!r}: expected one of {', '.join(NOISE_KINDS)}")


def find_matrix(name: Path) -> Path:
    """A matrix's file: the path itself, or, for a bare name, the one of that name in `meta/noise`.

    Raises:
        ValueError: no such file and no such name.
    """
    if name.is_file():
        return name
    known = shipped_folder("meta") / "noise" / f"{name}.csv"
    if name.suffix or len(name.parts) != 1 or not known.is_file():
        names = ", ".join(sorted(path.stem for path in known.parent.glob("*.csv")))
        raise ValueError(f"noise matrix {name}: expected a CSV or JSON file, or one of the names {names}; found none")
    return known


def load_matrix(file: Path, *, classes: Sequence[str]) -> Matrix:
    """A confusion matrix from a file.

    CSV: C rows of C numbers, with or without a header line of class names and a first column of class names.
    JSON: a list of rows, or {"classes": [...], "matrix": [[...]]}. Named classes may come in any order.

    Raises:
        ValueError: the shape, a class name, a value below 0, or a row that does not sum to 1.
    """
    names, rows = _json_rows(file) if file.suffix.lower() == ".json" else _csv_rows(file)
    try:
        matrix = np.array(rows, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"noise matrix {file}: expected rows of numbers of one length ({error})") from error
    count = len(classes)
    if matrix.shape != (count, count):
        raise ValueError(
            f"noise matrix {file}: expected {count} x {count} for the classes {', '.join(classes)}, "
            f"got shape {matrix.shape}"
        )
    if names is not None:
        if sorted(names) != sorted(classes):
            raise ValueError(f"noise matrix {file}: expected the classes {', '.join(classes)}, got {', '.join(names)}")
        order = [names.index(name) for name in classes]
        matrix = matrix[np.ix_(order, order)]
    sums = matrix.sum(axis=1)
    if not np.isfinite(matrix).all() or (matrix < 0).any() or not np.allclose(sums, 1, atol=1e-6):
        raise ValueError(
            f"noise matrix {file}: every row must be a distribution (values from 0 to 1 with sum 1), "
            f"got row sums {[round(float(value), 4) for value in sums]}"
        )
    return np.asarray(matrix / sums[:, None])


def add_noise(labels: Labels, *, matrix: Matrix, generator: np.random.Generator) -> Labels:
    """Labels drawn from each clean label's row, with counts as near to the expected ones as whole images allow.

    Systematic sampling: within a class each noisy label's count differs from its expectation by less than 1, and is
    right in the mean, so that small sites realise their rate too.

    Args:
        labels: (n,) clean labels from 0 to C - 1.
        matrix: (C, C), rows sum to 1.

    Returns:
        (n,) noisy labels.
    """
    noisy = labels.copy()
    for label in np.unique(labels):
        members = generator.permutation(np.flatnonzero(labels == label))
        row = generator.permutation(len(matrix))  # so that no class gains from its place in the list
        shares = matrix[label][row]
        positions = (np.arange(len(members)) + generator.random()) / len(members)
        places = np.searchsorted(np.cumsum(shares), positions, side="right")
        noisy[members] = row[np.minimum(places, np.flatnonzero(shares > 0)[-1])]  # a sum may round to less than 1
    return noisy


def confusion_counts(clean: Labels, noisy: Labels, *, classes: int) -> list[list[int]]:
    """(C, C) counts: row = clean class, column = given label."""
    counts = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(counts, (clean, noisy), 1)
    rows: list[list[int]] = counts.tolist()
    return rows


def _check_rate(rate: float, classes: int) -> None:
    if not 0 <= rate <= 1:
        raise ValueError(f"noise rate {rate}: expected a share of the training labels from 0 to 1")
    if classes < 2 and rate > 0:
        raise ValueError(f"noise rate {rate} with {classes} class: noise needs at least 2 classes")


def _json_rows(file: Path) -> tuple[list[str] | None, list[list[float]]]:
    try:
        content = json.loads(file.read_text("utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"noise matrix {file}: not JSON ({error})") from error
    if isinstance(content, dict):
        return content.get("classes"), content.get("matrix", [])
    return None, content


def _csv_rows(file: Path) -> tuple[list[str] | None, list[list[float]]]:
    with file.open(newline="", encoding="utf-8-sig") as stream:
        rows = [[cell.strip() for cell in row] for row in csv.reader(stream) if any(cell.strip() for cell in row)]
    names = None
    if rows and not all(_is_number(cell) for cell in rows[0] if cell):
        names = [cell for cell in rows[0] if cell]
        rows = rows[1:]
    if names is not None and rows and not _is_number(rows[0][0]):
        if [row[0] for row in rows] != names:
            raise ValueError(f"noise matrix {file}: the first column and the header name different classes")
        rows = [row[1:] for row in rows]
    try:
        return names, [[float(cell) for cell in row] for row in rows]
    except ValueError as error:
        raise ValueError(f"noise matrix {file}: expected numbers ({error})") from error


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
