"""Runs as jobs of a cluster, with submitit's executor for one machine: the same scores, failures told, none left."""

import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from fakes.comparisons import written

from mdhfl.comparison.cluster import Cluster
from mdhfl.comparison.compare import run_missing
from mdhfl.comparison.grid import read_comparison
from mdhfl.comparison.place import Workplace, finished
from mdhfl.comparison.workers import LocalWorkers, stopped_once


def ended(job: Any) -> Any:
    deadline = time.monotonic() + 300
    while not job.done() and time.monotonic() < deadline:
        time.sleep(0.1)
    return job.result()


def test_a_job_s_outcome_is_as_in_a_process_here(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, threads=1, device="cpu", kind="local")
    with stopped_once(cluster):
        good, bad = cluster.submit(abs, -3), cluster.submit(int, "x")
        assert ended(good).value == 3
        assert ended(bad).failure.startswith("ValueError: invalid literal")


@pytest.mark.slow
@pytest.mark.usefixtures("heeds_ctrl_c")
def test_a_job_that_was_cancelled_is_a_failure_and_leaves_no_process(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, threads=1, device="cpu", kind="local")
    before = set(psutil.Process().children(recursive=True))
    mark = tmp_path / "begun"
    job = cluster.submit(exec, f"import pathlib, time; pathlib.Path({str(mark)!r}).touch(); time.sleep(300)")
    while not mark.exists():  # before, a process that is still starting may not hear that it is cancelled
        time.sleep(0.05)
    family = set(psutil.Process().children(recursive=True)) - before
    assert len(family) >= 2
    cluster.kill()
    _, alive = psutil.wait_procs(list(family), timeout=20)
    assert not [one for one in alive if one.status() != psutil.STATUS_ZOMBIE]
    outcome = ended(job)
    assert outcome.failure.startswith("job ")
    assert "\n" not in outcome.failure


def test_where_there_is_no_slurm_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ValueError, match="--executor slurm: expected Slurm's sbatch on this machine"):
        Cluster(tmp_path, threads=1, device="cpu")


@pytest.mark.slow
def test_runs_have_the_same_scores_wherever_they_run(tmp_path: Path) -> None:
    methods = {"MDH-FL": {"recipe": "mdhfl"}}
    cells = read_comparison(written(tmp_path, bundles=["resnet10"], noise={"none": {}}, methods=methods)).cells
    found = {}
    for kind in ("here", "cluster"):
        place = Workplace(data=tmp_path, work=tmp_path / kind, threads=1, device="cpu")
        executor = (
            LocalWorkers(1)
            if kind == "here"
            else Cluster(place.work / "submitit", threads=1, device="cpu", kind="local")
        )
        assert run_missing(cells, place=place, executor=executor, slots=1) == {}
        record = finished(cells[0], place)
        assert record is not None
        found[kind] = (record["on_all"], {site: each["macro_f1"] for site, each in record["summary"]["sites"].items()})
    assert found["here"] == found["cluster"]
