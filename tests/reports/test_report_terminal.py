"""What `mdhfl report` prints: every score of every site, however narrow the terminal, and one sentence."""

import io
import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from fakes.run_folders import SITES, write_federation, write_run
from rich.console import Console

from mdhfl.commands.report import report_command
from mdhfl.reports.terminal import score_table

TWO = SITES[:2]


@pytest.fixture
def federation(tmp_path: Path) -> Path:
    return write_federation(tmp_path / "fed", sites=TWO)


def test_command_prints_scores_and_the_page(tmp_path: Path, federation: Path) -> None:
    run = write_run(tmp_path / "a", federation=federation, sites=TWO, rounds=1)
    result = CliRunner().invoke(
        report_command, [str(run), "--out", str(tmp_path / "r")], env={"COLUMNS": "140"}, catch_exceptions=False
    )
    accuracy = json.loads((run / "summary.json").read_text())["mean"]["accuracy"]
    assert result.exit_code == 0
    assert f"{accuracy:.3f}" in result.output
    assert str(tmp_path / "r" / "report.html") in result.output


@pytest.mark.parametrize("columns", [None, "80"])
def test_on_eighty_columns_every_site_has_its_name_and_nothing_is_cut(
    tmp_path: Path, federation: Path, columns: str | None
) -> None:
    runs = [write_run(tmp_path / name, federation=federation, method=name, rounds=1) for name in ("mdhfl", "local")]
    said = CliRunner().invoke(
        report_command,
        [*map(str, runs), "--out", str(tmp_path / "r")],
        env={"COLUMNS": columns},
        catch_exceptions=False,
    )
    *lines, sentence, page = said.output.splitlines()
    assert max(map(len, lines)) <= 80
    for site in ("site-1", "site-2", "site-3", "site-4"):
        assert sum(line.startswith(f"{site} ") for line in lines) == 2
    means = [json.loads((run / "summary.json").read_text())["mean"]["macro_f1"] for run in runs]
    shares, alone = (round(100 * mean) for mean in means)
    assert sentence.startswith(f"MDH-FL {shares} %, alone {alone} %: sites ")
    assert f" {abs(shares - alone)} point" in sentence
    assert page == f"report: {tmp_path / 'r' / 'report.html'}"


def test_score_table_takes_markup_for_text_and_gaps_for_dashes() -> None:
    console = Console(width=140, record=True, file=io.StringIO())
    console.print(score_table([{"method": "mdhfl", "sites": {"[red]s": {"accuracy": None}}, "mean": {}}]))
    text = console.export_text()
    assert "[red]s" in text
    assert "\N{EN DASH}" in text


def test_every_method_has_a_title_and_those_that_share_weights_say_so() -> None:
    from mdhfl.methods import METHODS

    for method in METHODS.values():
        assert ("weights" in method.title) == ("weights" in (method.shares or ""))
        assert ("encrypted" in method.title) == ("encrypted" in (method.shares or ""))
