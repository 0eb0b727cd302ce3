"""A job in FLARE's POC mode: it runs, its resubmission continues, and it cannot run what a site does not allow."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from fakes.poc import running_poc, session_of, submit_and_wait
from fakes.simulated import new_run, numbers_of

from mdhfl.commands.recipe import experiment_on
from mdhfl.flare.job import export_job
from mdhfl.jobs import RECIPES
from mdhfl.runs.inprocess import run_in_process
from mdhfl.server.results import read_rows

pytestmark = pytest.mark.slow
BUNDLES = {"site-1": "shufflenet_v2", "site-2": "resnet10"}


@pytest.fixture
def poc(tmp_path: Path, federation: Path) -> Iterator[Path]:
    """A running POC system; yields the folder of the kits."""
    with running_poc(tmp_path, federation, sites=BUNDLES) as kits:
        yield kits


def test_a_job_runs_in_poc_mode_and_its_resubmission_continues(tmp_path: Path, federation: Path, poc: Path) -> None:
    """One round, then the same experiment with two: together equal to two rounds in one process."""
    for rounds in (1, 2):
        experiment = experiment_on(
            RECIPES["mdhfl"], federation=federation, identity="trial", seed=0, rounds=rounds, pairs=()
        )
        job = export_job(experiment, name="mdhfl", out=tmp_path / f"jobs-{rounds}", round_timeout=200.0)
        assert submit_and_wait(poc, job) == "FINISHED:COMPLETED", (poc / "server" / "log.txt").read_text()[-3000:]
    results = poc / "server" / "experiments" / "trial"
    assert json.loads((results / "summary.json").read_text())["rounds"] == 2
    expected = new_run(tmp_path / "one", federation, bundles=tuple(BUNDLES.values()))
    run_in_process(tmp_path / "one", experiment=expected)
    assert numbers_of(read_rows(results / "results.jsonl")) == numbers_of(read_rows(tmp_path / "one" / "results.jsonl"))
    assert (tmp_path / "state" / "site-2" / "trial" / "best.pt").is_file()


def test_a_submitted_job_cannot_run_what_a_site_does_not_allow(tmp_path: Path, federation: Path, poc: Path) -> None:
    """Each attack ends as an error, and leaves no trace: code in a bundle, in `custom`, a killer, another site.json."""
    experiment = experiment_on(RECIPES["mdhfl"], federation=federation, identity="attack", seed=0, rounds=1, pairs=())
    trace = tmp_path / "trace"
    code = f"$open({str(trace)!r}, 'w').write('ran')"
    evil = {"network_def": code, **dict.fromkeys(("optimizer", "batch_size", "deterministic_transforms"), code)}
    load = {"path": "mdhfl.learning.bundle.load_bundle", "args": {"num_classes": 3, "image_size": 32}}
    attacks: dict[str, dict] = {
        "a bundle": {**load, "args": {**load["args"], "name_or_path": "{JOB_CONFIG_DIR}/evil"}},
        "a killer": {"path": "mdhfl.flare.simulator.kill_simulator", "args": {"pid": os.getpid()}},
        "a log streamer": {"path": "nvflare.app_common.logging.job_log_streamer.JobLogStreamer", "args": {}},
        "a shell": {"path": "subprocess.run", "args": {"args": ["touch", str(trace)]}},
    }
    for name, component in attacks.items():
        job = export_job(experiment, name="mdhfl", out=tmp_path / "jobs" / name.replace(" ", "-"), round_timeout=60.0)
        path = next(job.rglob("config_fed_client.json"))
        config = json.loads(path.read_text())
        config["components"].append({"id": "attack", **component})
        path.write_text(json.dumps(config))
        (path.parent / "evil" / "configs").mkdir(parents=True)
        (path.parent / "evil" / "configs" / "train.yaml").write_text(
            yaml.safe_dump({**evil, "intensity_transform": code})
        )
        assert submit_and_wait(poc, job) != "FINISHED:COMPLETED", name
        logs = "".join(path.read_text(errors="replace") for path in poc.rglob("log.txt"))
        assert f"Component '{component['path']}'" in logs, name
        assert "is not in allow_list" in logs
    job = export_job(experiment, name="mdhfl", out=tmp_path / "jobs" / "settings", round_timeout=60.0)
    path = next(job.rglob("config_fed_client.json"))
    config = json.loads(path.read_text())
    config["executors"][0]["executor"]["args"] = {"site_config": "{JOB_CONFIG_DIR}/site.json"}
    path.write_text(json.dumps(config))
    assert submit_and_wait(poc, job) != "FINISHED:COMPLETED"
    job = export_job(experiment, name="mdhfl", out=tmp_path / "jobs" / "code", round_timeout=60.0)
    custom = next(job.rglob("config_fed_client.json")).parents[1] / "custom"
    custom.mkdir()
    (custom / "evil.py").write_text(f"open({str(trace)!r}, 'w').write('ran')\n")
    assert submit_and_wait(poc, job) != "FINISHED:COMPLETED"
    assert not trace.exists()
    with session_of(poc) as session:
        for read in (session.cat_target, session.tail_target, session.ls_target):
            with pytest.raises(Exception, match=r"(?i)authoriz|permission|denied"):
                read("site-1", None, "local/site.json")
