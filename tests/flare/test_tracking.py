"""Scores go to a tracker by the server's own settings alone, through FLARE's receivers, and delay nothing."""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fakes.simulated import new_run
from nvflare.apis.analytix import AnalyticsData
from nvflare.apis.dxo import from_shareable
from nvflare.app_common.widgets.streaming import AnalyticsReceiver

from mdhfl.flare import places, tracking
from mdhfl.flare.tracking import Tracker
from mdhfl.jobs import RECIPES
from mdhfl.runs.folder import RunOptions, create_run
from mdhfl.server.tracking import Tracking, read_tracking, tracking_of_run

TOLD = [("site-1", 0, {"test/accuracy": 0.5, "loss/train": 1.0}), ("site-2", 0, {"test/accuracy": 0.25})]


class Noting(AnalyticsReceiver):
    """A receiver of FLARE's kind that keeps what it gets; the named step fails."""

    def __init__(self, *, fails: str = "") -> None:
        super().__init__()
        self.fails, self.got, self.steps = fails, list[tuple[str, int, str, float]](), list[str]()

    def _step(self, name: str) -> None:
        self.steps.append(name)
        if name == self.fails:
            raise RuntimeError("no such server")

    def initialize(self, fl_ctx: Any) -> None:
        self._step("initialize")

    def save(self, fl_ctx: Any, shareable: Any, record_origin: str) -> None:
        self._step("save")
        data = AnalyticsData.from_dxo(from_shareable(shareable))
        self.got.append((record_origin, data.step, data.tag, data.value))

    def finalize(self, fl_ctx: Any) -> None:
        self._step("finalize")


def tell_all(receiver: Noting) -> None:
    tracker = Tracker(lambda: receiver, SimpleNamespace())
    for told in TOLD:
        tracker.tell(*told)
    tracker.close()


def test_each_site_s_scalars_go_under_its_own_name_in_order() -> None:
    receiver = Noting()
    tell_all(receiver)
    assert receiver.got == [
        ("site-1", 0, "test/accuracy", 0.5),
        ("site-1", 0, "loss/train", 1.0),
        ("site-2", 0, "test/accuracy", 0.25),
    ]
    assert receiver.steps == ["initialize", "save", "save", "save", "finalize"]


@pytest.mark.parametrize("step", ["initialize", "save", "finalize"])
def test_a_tracker_that_fails_is_told_once_and_ends_nothing(step: str, caplog: pytest.LogCaptureFixture) -> None:
    tell_all(Noting(fails=step))
    (record,) = [record for record in caplog.records if record.name == "Tracker"]
    assert "scores are not tracked any more (RuntimeError: no such server); the job goes on" in record.message


def test_a_tracker_that_does_not_answer_delays_no_round(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking, "LAST_WAIT", 0.2)
    released = threading.Event()

    def opened() -> Noting:
        released.wait(30)
        return Noting()

    began = time.monotonic()
    tracker = Tracker(opened, SimpleNamespace())
    for _ in range(100):
        tracker.tell(*TOLD[0])
    assert time.monotonic() - began < 0.1
    tracker.close()
    assert time.monotonic() - began < 5
    released.set()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"version": 1, "to": "mlflow"}, "address"),
        ({"version": 1, "to": "wandb", "address": "https://x.org"}, "tracking.json"),
        ({"version": 1, "to": "mlflow", "address": "mlruns"}, "address"),
        ({"version": 1, "to": "elsewhere"}, "to: "),
        ({"version": 1, "to": "wandb", "project": "x"}, "Additional properties"),
    ],
)
def test_settings_that_cannot_be_are_refused(tmp_path: Path, values: dict[str, Any], said: str) -> None:
    path = tmp_path / "tracking.json"
    path.write_text(json.dumps(values))
    with pytest.raises(ValueError, match=said):
        read_tracking(path)


def test_settings_are_read_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "tracking.json"
    assert read_tracking(path) is None
    for one in (Tracking(to="wandb"), Tracking(to="mlflow", address="http://127.0.0.1:5000")):
        path.write_text(json.dumps(one.to_json()))
        assert read_tracking(path) == one


def test_the_server_s_own_folder_says_it_and_no_job(tmp_path: Path) -> None:
    """In the `local` of a kit; test_job_form.py refuses every component that a job names but TensorBoard."""
    assert places.tracking(tmp_path) == tmp_path / "local" / "tracking.json"
    with places.simulated(tmp_path / "run"):
        assert places.tracking(tmp_path) == tmp_path / "run" / "tracking.json"


def test_a_run_is_tracked_where_the_environment_says(
    tmp_path: Path, federation: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mdhfl.server.tracking.find_spec", lambda name: object())
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(ValueError, match="MLFLOW_TRACKING_URI, for example"):
        tracking_of_run("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    options = RunOptions(federation=federation, engine="flare", bundles=("resnet10",), track="mlflow", rounds=1)
    create_run(tmp_path / "run", recipe=RECIPES["local"], options=options)
    assert read_tracking(tmp_path / "run" / "tracking.json") == Tracking(to="mlflow", address="http://127.0.0.1:5000")
    new_run(tmp_path / "other", federation)
    assert read_tracking(tmp_path / "other" / "tracking.json") is None


@pytest.mark.parametrize("to", ["mlflow", "wandb"])
def test_a_tracker_that_is_not_installed_is_named(to: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mdhfl.server.tracking.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=rf'--track {to}: it is not installed; pip install "mdhfl\[{to}\]"'):
        tracking_of_run(to)


def test_tracking_in_one_process_is_refused(tmp_path: Path, federation: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mdhfl.server.tracking.find_spec", lambda name: object())
    options = RunOptions(federation=federation, track="wandb")
    with pytest.raises(ValueError, match="--track wandb: FLARE's receivers need --engine flare, got inprocess"):
        create_run(tmp_path / "run", recipe=RECIPES["local"], options=options)
    assert not (tmp_path / "run").exists()


# FLARE's receivers in a process of its own, as in a server's: they set addresses for the whole process.
TRACKED = """
import sys
from types import SimpleNamespace as Some
from nvflare.apis.fl_constant import FLContextKey, ProcessType, ReservedKey
from nvflare.apis.fl_context import FLContext
from mdhfl.flare import tracking
from mdhfl.methods import METHODS
from mdhfl.server.tracking import Tracking
to, address, folder = sys.argv[1:]
workspace = Some(get_run_dir=lambda job: folder, get_result_root=lambda job: folder)
sites = [Some(name="site-1"), Some(name="site-2")]
fl_ctx = FLContext()
for name, value in {
    ReservedKey.ENGINE: Some(get_clients=lambda: sites, get_workspace=lambda: workspace),
    FLContextKey.PROCESS_TYPE: ProcessType.SERVER_JOB, FLContextKey.CURRENT_RUN: "job-1",
}.items():
    fl_ctx.set_prop(name, value, private=True, sticky=False)
tracking.LAST_WAIT = 300.0
experiment = Some(id="trial", method=METHODS["mdhfl"](), seed=7)
where = Tracking(to=to, address=address)
tracker = tracking.Tracker(lambda: tracking.open_receiver(where, experiment=experiment), fl_ctx)
for number in range(3):
    for site in ("site-1", "site-2"):
        tracker.tell(site, number, {"test/accuracy": number / 4, "loss/train": 1.0})
tracker.close()
"""
MLFLOW = """
from mlflow import MlflowClient
client = MlflowClient(address)
(found,) = [one for one in client.search_experiments() if one.name == "mdhfl"]
for run in sorted(client.search_runs([found.experiment_id]), key=lambda run: run.info.run_name):
    history = client.get_metric_history(run.info.run_id, "test/accuracy")
    print(run.info.run_name.split("-job")[0], run.data.tags["method"], run.data.tags["seed"], run.info.status,
          [(one.step, one.value) for one in history])
"""


def tracked(folder: Path, *, to: str, address: str, then: str = "", **environment: str) -> str:
    """Send what two sites told in three rounds; return what the program and then the rest printed."""
    call = [sys.executable, "-c", TRACKED + then, to, address, str(folder)]
    done = subprocess.run(
        call, capture_output=True, text=True, timeout=500, env={**os.environ, **environment}, cwd=folder
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.slow
def test_mlflow_gets_a_run_for_each_site(tmp_path: Path) -> None:
    pytest.importorskip("mlflow", reason="MLflow is an extra: mdhfl[mlflow]")
    address = (tmp_path / "mlruns").as_uri()
    said = tracked(tmp_path, to="mlflow", address=address, then=MLFLOW, MLFLOW_ALLOW_FILE_STORE="true")
    history = "[(0, 0.0), (1, 0.25), (2, 0.5)]"
    expected = [f"{site} mdhfl 7 FINISHED {history}" for site in ("site-1", "site-2")]
    assert [line for line in said.splitlines() if line.startswith("site-")] == expected


@pytest.mark.slow
def test_weights_and_biases_gets_a_run_for_each_site(tmp_path: Path) -> None:
    """Offline: what it would send lies in a file of its own form, with names as plain text."""
    pytest.importorskip("wandb", reason="Weights & Biases is an extra: mdhfl[wandb]")
    tracked(tmp_path, to="wandb", address="", WANDB_MODE="offline", WANDB_DIR=str(tmp_path))
    files = [path.read_bytes() for path in tmp_path.glob("wandb/offline-run-*/*.wandb")]
    assert all(b"test/accuracy" in content for content in files)
    for site in (b"site-1-", b"site-2-"):
        assert sum(site in content and b"-trial" in content for content in files) == 1
