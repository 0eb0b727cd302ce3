"""Results that go home with a job can be reported and checked where there is neither a site nor a federation."""

import shutil
from pathlib import Path

from fakes.simulated import new_run

from mdhfl.commands.check import problems_of
from mdhfl.flare import home
from mdhfl.reports.write import write_report
from mdhfl.runs.inprocess import run_in_process
from mdhfl.server.decisions import decide, read_decisions


def test_what_comes_home_is_reported_and_checked(tmp_path: Path, federation: Path) -> None:
    experiment = new_run(tmp_path / "run", federation, rounds=1)
    run_in_process(tmp_path / "run", experiment=experiment)
    server = tmp_path / "server"
    server.mkdir()
    for name in ("results.jsonl", "summary.json"):
        shutil.copy(tmp_path / "run" / name, server / name)
    home.describe(server, experiment=experiment)
    decide(server, sites=experiment.sites, trusted=["site-2"])
    home.take(server, to=tmp_path / "job" / "mdhfl")
    came = tmp_path / "job" / "mdhfl"
    assert {path.name for path in came.iterdir()} == set(home.FILES)
    assert read_decisions(came) == {"site-2": "trusted"}
    page = write_report([came], out=tmp_path / "report").read_text(encoding="utf-8")
    assert "site-2" in page
    assert problems_of(came, classes=2, image_size=32) == ("results of 2 sites, flare", [])
    data = bytearray((came / "results.jsonl").read_bytes())
    data[len(data) // 4] ^= 1
    (came / "results.jsonl").write_bytes(bytes(data))
    _, problems = problems_of(came, classes=2, image_size=32)
    assert problems


def test_a_job_that_ends_early_brings_home_what_there_is(tmp_path: Path, federation: Path) -> None:
    experiment = new_run(tmp_path / "run", federation, rounds=1)
    (tmp_path / "server").mkdir()
    home.describe(tmp_path / "server", experiment=experiment)
    home.take(tmp_path / "server", to=tmp_path / "job")
    assert [path.name for path in (tmp_path / "job").iterdir()] == ["experiment.json"]
