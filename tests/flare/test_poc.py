"""A job in FLARE's POC mode: it runs, its resubmission continues, and it cannot run what a site does not allow."""

import http.server
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

import pytest
import yaml
from fakes.poc import ADMIN, call, console, running_poc, session_of, submit, submit_and_wait, wait_until_finished
from fakes.simulated import new_run, numbers_of

import mdhfl
from mdhfl.commands.check import problems_of
from mdhfl.commands.recipe import experiment_on
from mdhfl.flare.job import export_job
from mdhfl.jobs import RECIPES
from mdhfl.reports.write import write_report
from mdhfl.runs.folder import results_in, site_settings_path
from mdhfl.runs.inprocess import run_in_process
from mdhfl.server.journal import read_rows
from mdhfl.status.places import read_all

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
        job_id = submit(poc, job, sites=len(BUNDLES))
        ended = wait_until_finished(poc, job_id)
        assert ended == "FINISHED:COMPLETED", (poc / "server" / "log.txt").read_text()[-3000:]
    results = poc / "server" / "experiments" / "trial"
    assert json.loads((results / "summary.json").read_text())["rounds"] == 2
    expected = new_run(tmp_path / "one", federation, bundles=tuple(BUNDLES.values()))
    for site in BUNDLES:  # which tell as little as a kit's site does
        path, kit = (
            site_settings_path(tmp_path / "one", site),
            json.loads((poc / site / "local" / "site.json").read_text()),
        )
        told = {name: kit[name] for name in ("scores", "minimum_images", "minimum_classes", "smallest_count")}
        path.write_text(json.dumps({**json.loads(path.read_text()), **told}))
    run_in_process(tmp_path / "one", experiment=expected)
    assert numbers_of(read_rows(results / "results.jsonl")) == numbers_of(read_rows(tmp_path / "one" / "results.jsonl"))
    assert (tmp_path / "state" / "site-2" / "trial" / "last.pt").is_file()
    with session_of(poc) as session:  # the administrator has the results, by each of three ways, and their report
        downloads = [Path(session.download_job_result(job_id, str(tmp_path / "by-api")))]
    call(tmp_path, "nvflare", "job", "download", job_id, "-o", str(tmp_path / "by-command"))
    shown = console(tmp_path, poc, "list_jobs", f"download_job {job_id}")
    assert "mdhfl trial" in shown  # method and experiment
    downloads += [tmp_path / "by-command" / job_id, poc / ADMIN / "transfer" / job_id]
    for number, folder in enumerate((*downloads, results)):
        home = results_in(folder)
        assert numbers_of(read_rows(home / "results.jsonl")) == numbers_of(read_rows(results / "results.jsonl"))
        assert write_report([folder], out=tmp_path / f"report-{number}").is_file()
        assert problems_of(folder, classes=2, image_size=32) == ("results of 2 sites, flare", [])
        assert mdhfl.report([folder], out=tmp_path / f"again-{number}").is_file()
    for kit, role in (("server", "server"), *((site, "site") for site in BUNDLES)):
        (status,) = read_all(poc / kit)
        assert (status.experiment, status.role, status.state, status.done) == ("trial", role, "finished", 2)
        assert all(site.scores for site in status.sites)
    for site, bundle in BUNDLES.items():
        logs = "".join(path.read_text(errors="replace") for path in (poc / site).rglob("*log*.txt"))
        assert f"site {site} starts: bundle {bundle} (" in logs
        assert "images: 24 training, 12 validation, 12 test, 20 public; 3 classes: blue, red, green" in logs


class Listener(http.server.BaseHTTPRequestHandler):
    """Notes that somebody has asked."""

    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_error(404)


def test_a_submitted_job_cannot_run_what_a_site_does_not_allow(tmp_path: Path, federation: Path, poc: Path) -> None:
    """No attack is started or leaves a trace: code in a bundle or in `custom`, a killer, includes, other settings."""
    experiment = experiment_on(RECIPES["mdhfl"], federation=federation, identity="attack", seed=0, rounds=1, pairs=())
    trace = tmp_path / "trace"
    code = f"$open({str(trace)!r}, 'w').write('ran')"
    evil = {"network_def": code, **dict.fromkeys(("optimizer", "batch_size", "deterministic_transforms"), code)}
    load = {"path": "mdhfl.learning.bundle.load_bundle", "args": {"num_classes": 3, "image_size": 32}}
    listener = http.server.HTTPServer(("127.0.0.1", 0), Listener)
    threading.Thread(target=listener.serve_forever, daemon=True).start()

    def add(component: dict) -> Callable[[dict, Path], None]:
        return lambda config, app: config["components"].append({"id": "attack", **component})

    def bring(name: str, text: str) -> Callable[[dict, Path], None]:
        def write(config: dict, app: Path) -> None:
            (app / name).parent.mkdir(parents=True, exist_ok=True)
            (app / name).write_text(text)

        return write

    include = f'include url("http://127.0.0.1:{listener.server_port}/hocon")'
    other_settings = {"site_config": "{JOB_CONFIG_DIR}/site.json"}
    attacks: dict[str, Callable[[dict, Path], None]] = {
        "a bundle": bring("config/evil/configs/train.yaml", yaml.safe_dump({**evil, "intensity_transform": code})),
        "its loader": add({**load, "args": {**load["args"], "name_or_path": "{JOB_CONFIG_DIR}/evil"}}),
        "a killer": add({"path": "mdhfl.flare.processes.sweep", "args": {"kit": str(poc / "site-1")}}),
        "a log streamer": add({"path": "nvflare.app_common.logging.job_log_streamer.JobLogStreamer", "args": {}}),
        "a shell": add({"path": "subprocess.run", "args": {"args": ["touch", str(trace)]}}),
        "settings": lambda config, app: config["executors"][0]["executor"].update(args=other_settings),
        "an include": bring("config/config_fed_client.conf", include),
        "code": bring("custom/evil.py", f"open({str(trace)!r}, 'w').write('ran')\n"),
    }
    try:
        for name, attack in attacks.items():
            job = export_job(experiment, name="mdhfl", out=tmp_path / "jobs" / name.replace(" ", "-"))
            path = next(job.rglob("config_fed_client.json"))
            config = json.loads(path.read_text())
            attack(config, path.parents[1])
            path.write_text(json.dumps(config))
            before = refusals(poc)
            assert submit_and_wait(poc, job) != "FINISHED:COMPLETED", name
            assert refusals(poc) > before or name == "code", name  # FLARE itself refuses code
    finally:
        listener.shutdown()
    assert not trace.exists()
    assert not Listener.asked
    with session_of(poc) as session:
        for read in (session.cat_target, session.tail_target, session.ls_target):
            with pytest.raises(Exception, match=r"(?i)authoriz|permission|denied"):
                read("site-1", None, "local/site.json")


def refusals(kits: Path) -> int:
    """Count how often a site or the server would not start a job."""
    return sum(path.read_text(errors="replace").count("ValueError: job: ") for path in kits.glob("*/log.txt"))
