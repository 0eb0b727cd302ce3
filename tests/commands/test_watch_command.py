"""`mdhfl watch`, the status and the report of a run in which a site stood out."""

from pathlib import Path

import pytest
from click.testing import CliRunner
from fakes.watched import asking, experiment_of

from mdhfl.commands.watch import watch_command
from mdhfl.flare import home
from mdhfl.reports.runs import read_report_run
from mdhfl.rounds.loop import federate
from mdhfl.runs.folder import write_record
from mdhfl.server.decisions import read_decisions
from mdhfl.server.results import Results
from mdhfl.status.server import read_server


def run(folder: Path, *, attack: str = "permuted") -> Path:
    experiment = experiment_of(watch="put_aside")
    record = {**experiment.to_json(), "version": 1, "sites": {site: {"bundle": "net"} for site in experiment.sites}}
    write_record(folder, {**record, "federation": "nowhere", "engine": "inprocess", "recipe": "mdhfl"})
    results = Results(folder, experiment=experiment)
    results.resume()
    federate(experiment, ask=asking(attack=attack), record=results.record, decide=results.decisions)
    results.summarise(engine="inprocess", federation="nowhere")
    results.close()
    return folder


def test_who_stood_out_is_told_everywhere_and_decided(tmp_path: Path) -> None:
    folder = run(tmp_path / "run")
    done = CliRunner().invoke(watch_command, [str(folder)])
    assert done.exit_code == 0, done.output
    assert "round 0, d: agrees -0.18 with the others, who agree 0.78 among themselves" in done.output
    assert "d: put aside" in done.output
    assert "round 1, a:" not in done.output
    notes = read_server(folder).notes
    assert any(note.startswith("d stood out in round 4: ") for note in notes)
    assert "d is put aside, its answers teach nobody: `mdhfl watch` decides" in notes
    decided = CliRunner().invoke(watch_command, [str(folder), "--trust", "d"])
    assert "d: put aside; decided: trusted" in decided.output
    assert read_decisions(folder) == {"d": "trusted"}


def test_an_honest_run_says_so_in_one_line(tmp_path: Path) -> None:
    done = CliRunner().invoke(watch_command, [str(run(tmp_path / "run", attack=""))])
    assert done.output == "no site stands out\n"
    assert read_server(tmp_path / "run").notes == ()


def test_a_site_that_there_is_not_is_refused(tmp_path: Path) -> None:
    done = CliRunner().invoke(watch_command, [str(run(tmp_path / "run")), "--aside", "x"])
    assert isinstance(done.exception, ValueError)
    assert "no site x" in str(done.exception)


def test_a_downloaded_job_is_shown_with_its_decisions_and_none_is_made_there(tmp_path: Path) -> None:
    """What was decided in it would reach no server."""
    folder = run(tmp_path / "run")
    CliRunner().invoke(watch_command, [str(folder), "--trust", "d"])
    home.take(folder, to=tmp_path / "job" / "workspace" / "mdhfl")
    shown = [CliRunner().invoke(watch_command, [str(place)]).output for place in (folder, tmp_path / "job")]
    assert shown[0] == shown[1]
    assert "d: put aside; decided: trusted" in shown[1]
    done = CliRunner().invoke(watch_command, [str(tmp_path / "job"), "--aside", "d"])
    assert "a downloaded job, where a decision reaches nobody; decide at the server" in str(done.exception)
    assert read_decisions(tmp_path / "job" / "workspace" / "mdhfl") == {"d": "trusted"}


@pytest.mark.parametrize("attack", ["permuted", ""])
def test_the_report_lists_it(tmp_path: Path, attack: str) -> None:
    found = read_report_run(run(tmp_path / "run", attack=attack))
    assert {site for _, site, _ in found.stood_out()} == ({"d"} if attack else set())
