"""A spreadsheet shows what is written, computes nothing, and our own reader gets it back."""

import ast
import csv
from pathlib import Path

import numpy as np
import pytest
from fakes.hostile import WORST, formulas_in, hidden_in, texts
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mdhfl.showing.sheets import cell, read_csv, to_csv
from mdhfl.showing.texts import one_line

ROOT = Path(__file__).resolve().parents[2]
NUMBERS = st.one_of(st.integers(), st.floats(allow_nan=False))


@given(texts(), texts(), NUMBERS)
@example(WORST, "'" + WORST, -1)
@settings(deadline=None)
def test_no_cell_is_a_formula_and_reading_gives_the_text_back(
    tmp_path_factory: pytest.TempPathFactory, first: str, second: str, number: float
) -> None:
    path = tmp_path_factory.getbasetemp() / "a.csv"
    path.write_text(to_csv([{"name": first, "why": second, "score": number}]), encoding="utf-8", newline="")
    with path.open(encoding="utf-8", newline="") as file:
        written = list(csv.reader(file))
    assert not formulas_in(written)
    assert not any(hidden_in(text, allowed="") for row in written for text in row)
    assert type(number)(written[1][2]) == number
    (row,) = read_csv(path)
    assert (row["name"], row["why"]) == (one_line(first), one_line(second))


@pytest.mark.parametrize("text", ["=1", "+1", "-1", "@a", "  =1", "\uff1d1", "=", "a;=1", "a; @b"])
def test_what_a_spreadsheet_computes_is_guarded(text: str) -> None:
    assert "'" in cell(text)
    assert not formulas_in([[part] for part in cell(text).split(";")])


@pytest.mark.parametrize("text", ["\t=1", "\r=1", "\n-1", "\x00@a"])
def test_control_characters_are_written_out(text: str) -> None:
    assert cell(text) == one_line(text)
    assert cell(text).startswith("\\")


@pytest.mark.parametrize("value", [-1, -0.5, 1e-9, np.float64(-2.5), np.int64(-3), True, None])
def test_numbers_stay_numbers(value: object) -> None:
    assert cell(value) is value


@pytest.mark.parametrize("text", ["site-1", "MDH-FL+", "a-b = c", "Dirichlet 0.5", "it's"])
def test_ordinary_texts_stay_as_they_are(text: str) -> None:
    assert cell(text) == text


def test_nothing_else_writes_csv() -> None:
    for folder in ("custom", "preprocessing", "jobs", "experiments", "benchmarks"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            names = {
                ast.unparse(node) for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)
            }
            if path.name != "sheets.py":
                assert not names & {"csv.writer", "csv.DictWriter"}, f"{path}: writes CSV; let showing/sheets.py do it"
