"""Scores by round, from a run's rows to a CSV and a figure."""

import csv
from pathlib import Path

from mdhfl.comparison.curves import FIELDS, curve_of, write_curves
from mdhfl.server.journal import lines_of


def test_a_curve_is_the_mean_over_the_sites_that_answered(tmp_path: Path) -> None:
    rows = [
        {"round": number, "site": site, "status": "ok", "test": {"macro_f1": score}}
        for number, scores in enumerate(((0.1, 0.3), (0.4, 0.6)))
        for site, score in zip("ab", scores, strict=True)
    ]
    rows.append({"round": 2, "site": "a", "status": "ok", "test": {"macro_f1": 0.7}})
    rows.append({"round": 2, "site": "b", "status": "refused"})
    (tmp_path / "results.jsonl").write_bytes(lines_of(rows))
    assert curve_of(tmp_path) == [20.0, 50.0, 70.0]
    assert curve_of(tmp_path / "nothing") == []


def test_curves_become_a_csv_and_the_same_figure_each_time(tmp_path: Path) -> None:
    rows = [
        {
            "federation": "IID",
            "noise": "none",
            "method": method,
            "seed": seed,
            "round": number,
            "macro_f1": 10.0 * number,
        }
        for method in ("a", "b")
        for seed in (0, 1)
        for number in range(3)
    ]
    figures = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_curves(rows, tmp_path / name)
        figures.append((tmp_path / name / "rounds.svg").read_bytes())
    assert figures[0] == figures[1]
    assert figures[0].startswith(b"<?xml")
    with (tmp_path / "one" / "rounds.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    assert list(found[0]) == list(FIELDS)
    assert [row["macro_f1"] for row in found[:3]] == ["0.0", "10.0", "20.0"]
    assert len(found) == len(rows)
