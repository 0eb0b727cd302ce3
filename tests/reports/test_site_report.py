"""A site's own report: its scores, gain, refusals, and what left it; of the others it shows nothing."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from fakes.pages import Reader
from fakes.simulated import new_run, site_of, tiny_bundle

from mdhfl.commands.report import report_command
from mdhfl.reports.site_run import read_site_run
from mdhfl.reports.write import write_report
from mdhfl.runs.folder import read_record, site_settings_path
from mdhfl.runs.inprocess import run_in_process
from mdhfl.server.journal import read_rows
from mdhfl.site.history import HISTORY

QUICK = {"control": True, "views": 1, "warm_up_epochs": 1, "local_epochs": 1, "competence_epochs": 0}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, federation: Path) -> Path:
    """A finished run whose first site tells nothing of its scores."""
    folder = tmp_path_factory.mktemp("own")
    bundles = [str(tiny_bundle(folder / "tiny"))]
    experiment = new_run(folder / "run", federation, recipe="mdhfl_plus", changes=QUICK, rounds=1, bundles=bundles)
    path = site_settings_path(folder / "run", "site-1")
    path.write_text(json.dumps({**json.loads(path.read_text()), "scores": "off"}))
    run_in_process(folder / "run", experiment=experiment)
    return folder / "run"


def own_folder(run: Path, site: str) -> Path:
    (found,) = (run / "sites" / site).glob(f"*/{HISTORY}")
    return found.parent


def text_of(page: Path) -> str:
    return " ".join(Reader(page).texts.values())


def test_a_site_knows_what_the_server_was_told_of_it(run: Path) -> None:
    told = [row for row in read_rows(run / "results.jsonl") if row["site"] == "site-2"]
    own = read_site_run(own_folder(run, "site-2"))
    assert own.finished
    assert [row["round"] for row in own.rows] == [row["round"] for row in told]
    for mine, theirs in zip(own.rows, told, strict=True):
        for name in ("test", "validation", "losses", "control", "best", "about"):
            assert mine[name] == theirs[name]
        assert mine["bytes"]["up"] > 0
        assert mine["bytes"]["down"] == theirs["bytes"]["down"]
    asked = read_record(run)["sites"]["site-2"]["bundle_digest"]
    assert own.experiment["sites"]["site-2"]["bundle_digest"].startswith(asked)
    assert own.bundles


def test_its_page_shows_what_it_keeps_from_the_server_and_nothing_of_others(run: Path, tmp_path: Path) -> None:
    folder = own_folder(run, "site-1")
    done = CliRunner().invoke(report_command, [str(folder), "--out", str(tmp_path / "report")])
    assert done.exit_code == 0, done.output
    text = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    said = text_of(tmp_path / "report" / "report.html")
    accuracy = read_site_run(folder).summary["sites"]["site-1"]["accuracy"]
    assert f"{accuracy:.3f}" in said
    for heading in ("What sharing brought to each site", "What left the site", "Refused and missing answers"):
        assert heading in said
    assert "shared.values" in said
    assert "Does alignment align?" not in said
    assert "site-2" not in text
    assert str(run) not in text
    data = json.loads((tmp_path / "report" / "report.json").read_text())
    assert data["runs"][0]["finished"]


def test_a_site_that_is_still_asked_and_has_refused_says_so(tmp_path: Path, federation: Path) -> None:
    experiment = new_run(tmp_path / "run", federation, bundles=[str(tiny_bundle(tmp_path / "tiny"))])
    site = site_of(tmp_path / "run", "site-1")
    assert not site.answer(experiment.request("warm_up", number=0)).refusal
    site.close()
    settings = site_settings_path(tmp_path / "run", "site-1")
    settings.write_text(json.dumps({**json.loads(settings.read_text()), "may_share": []}))
    assert site_of(tmp_path / "run", "site-1").answer(experiment.request("learn", number=1)).refusal
    text = text_of(write_report([own_folder(tmp_path / "run", "site-1")], out=tmp_path / "report"))
    assert "the server has not ended this experiment; the site's last round is 0" in text
    assert "site.log" in text


def test_a_state_folder_of_several_experiments_names_them(run: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"give one of the experiments in it: {own_folder(run, 'site-1').name}"):
        write_report([run / "sites" / "site-1"], out=tmp_path / "report")
