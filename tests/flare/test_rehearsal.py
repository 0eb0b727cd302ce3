"""How a rehearsal's job ends, with a stand-in for FLARE's server: results come home, or one line says why not."""

import json
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from fakes.run_folders import write_federation, write_run
from fakes.simulated import new_run

from mdhfl.commands import cli
from mdhfl.flare import rehearsal
from mdhfl.flare.poc import Kits, PocFailed
from mdhfl.flare.supervise import COMPLETED, LOST, PANIC, NotReached
from mdhfl.rounds.experiment import Experiment
from mdhfl.runs.progress import Step, note_step
from mdhfl.sharing.messages import Answer

Status = str | NotReached


class Server:
    """Says one status after another, then always the last."""

    def __init__(self, *statuses: Status, home: Path | None = None, log: str = "") -> None:
        self.statuses, self.home, self.said = list(statuses), home, log

    def __call__(self, kit: Path) -> "Server":
        return self

    def submit(self, job: Path, *, token: str) -> str:
        return "job-1"

    def status(self, job_id: str) -> str:
        found = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        if isinstance(found, NotReached):
            raise found
        return found

    def log(self, job_id: str) -> str:
        return self.said

    def download(self, job_id: str, *, to: Path) -> Path:
        assert self.home is not None
        return self.home

    def close(self) -> None:
        pass


@pytest.fixture
def rehearse(
    tmp_path: Path, federation: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Server], tuple[Experiment, list[Step]]]:
    """Rehearse with a server; give the experiment and its steps."""
    experiment = new_run(tmp_path / "run", federation, bundles=("shufflenet_v2",))
    kits = Kits(folder=tmp_path / "kits", sites=experiment.sites)
    stand_ins: dict[str, Any] = {
        "prepare_kits": lambda *_, **__: kits,
        "_equip": lambda *_: None,
        "running": lambda *_: nullcontext(),
        "wait_for_start": lambda *_, **__: None,
        "export_job": lambda *_, **__: tmp_path / "job",
        "CHECK_PERIOD": 0.01,
        "MOST_SILENCE": 0.1,
    }
    for name, one in stand_ins.items():
        monkeypatch.setattr(rehearsal, name, one)

    def call(server: Server) -> tuple[Experiment, list[Step]]:
        monkeypatch.setattr(rehearsal, "FlareServer", server)
        progress = kits.server / "experiments" / experiment.id
        note_step(progress, Step.of(experiment.request("warm_up", number=0), Answer(site="site-1", round=0)))
        steps: list[Step] = []
        watch = nullcontext(steps.append)
        rehearsal.rehearse(tmp_path / "run", experiment=experiment, say=lambda line: None, watch=watch)
        return experiment, steps

    return call


def test_results_come_home_and_the_run_s_own_record_stays(tmp_path: Path, rehearse: Callable) -> None:
    came = write_run(tmp_path / "download" / "workspace" / "mdhfl", federation=write_federation(tmp_path / "fed"))
    experiment, steps = rehearse(
        Server("RUNNING", NotReached("busy"), "RUNNING", COMPLETED, home=tmp_path / "download")
    )
    assert [(step.action, step.site) for step in steps] == [("warm_up", "site-1")]
    for name in ("results.jsonl", "summary.json"):
        assert (tmp_path / "run" / name).read_bytes() == (came / name).read_bytes()
    assert json.loads((tmp_path / "run" / "experiment.json").read_text())["id"] == experiment.id


@pytest.mark.parametrize(
    ("server", "said"),
    [
        (
            Server("FINISHED:EXECUTION_EXCEPTION", log=f"2026 ERROR {PANIC}round 0: too few sites"),
            "the job ended as FINISHED:EXECUTION_EXCEPTION: round 0: too few sites",
        ),
        (Server("RUNNING", LOST), r"the job ended as lost: see .*localhost/log\.txt"),
        (Server("RUNNING", NotReached("gone")), "the server does not answer any more: gone"),
    ],
)
def test_a_job_without_a_result_says_why(server: Server, said: str, rehearse: Callable) -> None:
    with pytest.raises(PocFailed, match=said):
        rehearse(server)


def test_a_download_without_results_is_named(tmp_path: Path, rehearse: Callable) -> None:
    with pytest.raises(ValueError, match="expected a finished job's results in workspace/mdhfl, found none"):
        rehearse(Server(COMPLETED, home=tmp_path / "empty"))


@pytest.mark.parametrize(
    ("out", "more", "said"),
    [
        ("with space", [], "FLARE's scripts take no spaces in a path"),
        ("run", ["--sites", "3"], "--sites: expected 1 to 2, as many as the federation has, got 3"),
        ("run", ["--set", "nonsense=1"], "nonsense"),
        ("run", ["--bundles", "nowhere"], "nowhere"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(
    out: str,
    more: list[str],
    said: str,
    tmp_path: Path,
    federation: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = ["mdhfl", "poc", "--federation", str(federation), "--out", str(tmp_path / out), *more]
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert said in lines[0]
    assert not (tmp_path / out).exists()
