"""FLARE's POC mode as its users have it: provisioned kits, real servers, a job folder submitted through FLARE's API.

Follows docs/operator.md step by step. Own folders, own port, own job store; everything is stopped at the end.
"""

import contextlib
import http.server
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import psutil
import pytest
import yaml
from fakes.simulated import new_run, numbers_of

from mdhfl.commands.recipe import experiment_on
from mdhfl.flare.job import export_job
from mdhfl.jobs import RECIPES
from mdhfl.runs.folder import site_settings_path
from mdhfl.runs.inprocess import run_in_process
from mdhfl.server.journal import read_rows

pytestmark = pytest.mark.slow
ADMIN = "admin@nvidia.com"
BUNDLES = {"site-1": "shufflenet_v2", "site-2": "resnet10"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def project(port: int) -> dict:
    """What `nvflare poc prepare -i` takes: one server, two sites, one administrator."""
    org = {"org": "hospitals"}
    sites = [{"name": site, "type": "client", **org} for site in BUNDLES]
    return {
        "api_version": 3,
        "name": "example_project",
        "participants": [
            {"name": "server", "type": "server", "fed_learn_port": port, "default_host": "localhost", **org},
            {"name": ADMIN, "type": "admin", "role": "project_admin", **org},
            *sites,
        ],
        "builders": [
            {
                "path": "nvflare.lighter.impl.workspace.WorkspaceBuilder",
                "args": {"template_file": ["master_template.yml"]},
            },
            {"path": "nvflare.lighter.impl.static_file.StaticFileBuilder", "args": {"config_folder": "config"}},
            {"path": "nvflare.lighter.impl.cert.CertBuilder"},
            {"path": "nvflare.lighter.impl.signature.SignatureBuilder"},
        ],
    }


def own_storage(kit: Path, *, storage: Path) -> None:
    """Move the job store: POC servers of one machine would share it."""
    path = kit / "local" / "resources.json.default"
    path.write_text(path.read_text().replace("/tmp/nvflare", str(storage)))


def left_behind(kits: Path, *, seconds: float) -> list[psutil.Process]:
    """Wait until no process of the kits is left; kill and return those that stay."""
    deadline = time.monotonic() + seconds
    while True:
        running = [one for one in psutil.process_iter(["cmdline"]) if str(kits) in " ".join(one.info["cmdline"] or ())]
        if not running or time.monotonic() > deadline:
            break
        time.sleep(0.5)
    for process in running:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    return running


@pytest.fixture
def poc(tmp_path: Path, federation: Path) -> Iterator[Path]:
    """A running POC system; yields the folder of the kits."""
    environment = {
        **os.environ,
        "HOME": str(tmp_path),
        "NVFLARE_POC_WORKSPACE": str(tmp_path / "poc"),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    (tmp_path / "project.yml").write_text(yaml.safe_dump(project(free_port())))

    def mdhfl(*arguments: str) -> None:
        done = subprocess.run(["mdhfl", *arguments], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr

    def nvflare(*arguments: str) -> None:
        done = subprocess.run(["nvflare", "poc", *arguments], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr

    nvflare("prepare", "-i", str(tmp_path / "project.yml"), "--force")
    kits = tmp_path / "poc" / "example_project" / "prod_00"
    for name in ("server", *BUNDLES):
        own_storage(kits / name, storage=tmp_path / "storage")
    mdhfl("server-kit", "--out", str(kits / "server"))
    for site, bundle in BUNDLES.items():
        mdhfl(
            "site-kit", "--out", str(kits / site), "--site", site, "--bundle", bundle,
            "--data", str(federation / "sites" / site), "--public", str(federation / "public"),
            "--state", str(tmp_path / "state" / site),
        )  # fmt: skip
    nvflare("start", "-ex", ADMIN)
    try:
        yield kits
    finally:
        nvflare("stop", "--no-wait")  # its own waiting sometimes gives up on a server that is gone already
        assert not left_behind(kits, seconds=60), "processes of the kits are still running"


def submit_and_wait(kits: Path, job: Path, *, seconds: float = 300) -> str:
    """Submit a job as an administrator does and return its final status."""
    deadline = time.monotonic() + seconds
    with session_of(kits, seconds=seconds) as session:
        while len(session.get_system_info().client_info) < len(BUNDLES):
            assert time.monotonic() < deadline, "the sites did not register"
            time.sleep(0.5)
        identity = session.submit_job(str(job))
        while True:
            status = str(session.get_job_meta(identity)["status"])
            if status.startswith("FINISHED"):
                return status
            assert time.monotonic() < deadline, f"job is still {status}"
            time.sleep(0.5)


@contextlib.contextmanager
def session_of(kits: Path, *, seconds: float = 60) -> Iterator[Any]:
    """Give an administrator's session with the POC server."""
    from nvflare.fuel.flare_api.flare_api import new_secure_session

    deadline = time.monotonic() + seconds
    while True:
        try:
            session = new_secure_session(ADMIN, str(kits / ADMIN), timeout=5)
            break
        except Exception:
            assert time.monotonic() < deadline, "no session with the POC server"
            time.sleep(1)
    try:
        yield session
    finally:
        session.close()


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
    for site in BUNDLES:  # which tell as little as a kit's site does
        path, kit = (
            site_settings_path(tmp_path / "one", site),
            json.loads((poc / site / "local" / "site.json").read_text()),
        )
        told = {name: kit[name] for name in ("scores", "minimum_images", "minimum_classes", "smallest_count")}
        path.write_text(json.dumps({**json.loads(path.read_text()), **told}))
    run_in_process(tmp_path / "one", experiment=expected)
    assert numbers_of(read_rows(results / "results.jsonl")) == numbers_of(read_rows(tmp_path / "one" / "results.jsonl"))
    assert (tmp_path / "state" / "site-2" / "trial" / "best.pt").is_file()


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
        "a killer": add({"path": "mdhfl.flare.simulator.kill_simulator", "args": {"pid": os.getpid()}}),
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
