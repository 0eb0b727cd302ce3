"""A whole run in which sites tell all, means or nothing of their scores: results, terminal, report, curves."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from fakes.pages import Reader
from fakes.simulated import new_run
from rich.console import Console

import mdhfl
from mdhfl.comparison.curves import curve_of
from mdhfl.metrics import SCORES
from mdhfl.reports.terminal import score_table
from mdhfl.reports.write import write_report
from mdhfl.runs.folder import site_settings_path
from mdhfl.runs.inprocess import run_in_process
from mdhfl.server.results import Results


def change_settings(run: Path, site: str, **changes: Any) -> None:
    path = site_settings_path(run, site)
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def shown(summary: Any) -> str:
    console = Console(width=200, file=io.StringIO())
    console.print(score_table([summary]))
    return str(console.file.getvalue())  # type: ignore[attr-defined]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("scores", "others"), [("off", "off"), ("off", "full"), ("aggregated", "off"), ("full", "full")]
)
def test_everything_works_with_each(tmp_path: Path, federation: Path, scores: str, others: str) -> None:
    changes = {"competence_epochs": 1, "control": True}
    experiment = new_run(tmp_path / "run", federation, recipe="mdhfl_plus", rounds=1, changes=changes)
    change_settings(tmp_path / "run", "site-1", scores=scores)
    change_settings(tmp_path / "run", "site-2", scores=others)
    summary = run_in_process(tmp_path / "run", experiment=experiment)
    assert summary["status"] == "finished"
    rows = [row for row in Results(tmp_path / "run", experiment=experiment).rows() if row["site"] == "site-1"]
    assert all(row["status"] == "ok" for row in rows)
    for name in SCORES:
        told = rows[-1]["test"][name]
        assert (told is None) == (scores == "off")
        assert summary["sites"]["site-1"][name] == told
        assert scores != "aggregated" or round(told, 3) == told
    assert (rows[-1]["test"]["confusion"] is not None) == (scores == "full")
    known = [s[name] for s in summary["sites"].values() for name in ("accuracy",) if s[name] is not None]
    assert summary["mean"]["accuracy"] == (sum(known) / len(known) if known else None)
    assert summary["mean"]["bytes_up"] > 0
    assert ("not told" in shown(summary)) == ("off" in (scores, others))
    page = Reader(write_report([tmp_path / "run"], out=tmp_path / "report"))
    assert ("Not told: the scores of" in page.texts["results"]) == ("off" in (scores, others))
    assert len(curve_of(tmp_path / "run")) == (0 if scores == others == "off" else 2)
    assert len(mdhfl.Run(folder=tmp_path / "run", summary=summary).scores) > 0 or scores == others == "off"
