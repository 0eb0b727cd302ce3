"""Titles of a comparison's file are shown in its tables, CSV files, figures and in the terminal; none is obeyed."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from fakes.hostile import WORST, formulas_in, hidden_in, texts
from hypothesis import HealthCheck, example, given, settings
from markdown_it import MarkdownIt
from rich.markdown import Markdown

from mdhfl.comparison.compare import write_tables
from mdhfl.comparison.curves import FIELDS, write_curves
from mdhfl.comparison.grid import Cell, read_comparison
from mdhfl.comparison.table import Found
from mdhfl.showing.console import InertConsole
from mdhfl.showing.sheets import read_csv

SCORES = {"macro_f1": 0.5, "balanced_accuracy": 0.5, "accuracy": 0.5}
PLACES = {"html_inline", "html_block", "link", "image", "link_open"}


def asked(folder: Path, text: str) -> tuple[str, tuple[Cell, ...]]:
    """Return the question and the runs of a comparison's file in which every title is this text."""
    file = {
        "question": f"a{text}", "rounds": 1, "seeds": [0, 1], "prepare": {"source": "synthetic"},
        "federations": {f"f{text}": {"split": "iid"}}, "noise": {text: {"noise": "none"}, "none": {}},
        "methods": {text: {"recipe": "local"}, f"={text}": {"recipe": "mdhfl"}},
    }  # fmt: skip
    (folder / "a.yaml").write_text(json.dumps(file))
    comparison = read_comparison(folder / "a.yaml")
    return comparison.question, comparison.cells


def found(cell: Cell, site: str) -> Found:
    mean: dict[str, Any] = {**SCORES, "ece": 0.1, "seconds": 2.0, "bytes_up": 4.0, "bytes_down": 2.0}
    summary = {"mean": mean, "sites": {site: SCORES}, "rounds": 1}
    record = {"summary": summary, "on_all": {site: SCORES}, "wall_seconds": 1.0, "peak_memory": 2**21}
    return Found(cell=cell, record=record)


@given(texts())
@example(WORST)
@settings(deadline=None, max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_titles_are_shown_and_not_obeyed(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    folder = tmp_path_factory.mktemp("any")
    question, cells = asked(folder, text)
    runs = [found(cell, site=f"={text}") for cell in cells]
    tables = write_tables(folder / "out", question, runs)
    rows = [dict(zip(FIELDS, (c.federation, c.noise, c.method, c.seed, 0, 50.0), strict=True)) for c in cells]
    write_curves(rows, folder / "out")
    assert not hidden_in(tables)
    for name in ("results.csv", "sites.csv", "rounds.csv"):
        with (folder / "out" / name).open(encoding="utf-8", newline="") as file:
            assert not formulas_in(list(csv.reader(file))), name
    rows_read = read_csv(folder / "out" / "results.csv")
    assert {row["method"] for row in rows_read} == {cell.method for cell in cells}
    tokens = MarkdownIt("commonmark").enable("table").parse(tables)
    kinds = {token.type for outer in tokens for token in (outer, *(outer.children or ()))}
    assert not kinds & PLACES
    assert sum(token.type == "table_open" for token in tokens) == tables.count("|---|")
    console = InertConsole(file=io.StringIO(), width=200, markup=False)
    console.print(Markdown(tables, hyperlinks=False))
    assert not hidden_in(console.file.getvalue())  # type: ignore[attr-defined]
    for name in ("figure.svg", "rounds.svg"):
        assert b"<script" not in (folder / "out" / name).read_bytes()
