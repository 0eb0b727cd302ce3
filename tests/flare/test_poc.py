"""FLARE's POC mode as its users have it: provisioned kits, real servers, a job folder submitted through FLARE's API.

Follows docs/operator.md step by step. Own folders, own port, own job store; everything is stopped at the end.
"""

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from fakes.simulated import new_run, numbers_of

from mdhfl.commands.recipe import experiment_on
from mdhfl.flare.job import export_job
from mdhfl.jobs import RECIPES
from mdhfl.runs.inprocess import run_in_process
from mdhfl.server.results import read_rows

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


def allow_our_classes(kit: Path, *, storage: Path) -> None:
    """What each site's IT does: copy the default policy and add "mdhfl." to it. The test also moves the job store."""
    text = (kit / "local" / "resources.json.default").read_text()
    resources = json.loads(text.replace("/tmp/nvflare", str(storage)))
    resources["class_allow_list"].append("mdhfl.")
    (kit / "local" / "resources.json").write_text(json.dumps(resources, indent=2))


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

    def nvflare(*arguments: str) -> None:
        done = subprocess.run(["nvflare", "poc", *arguments], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr

    nvflare("prepare", "-i", str(tmp_path / "project.yml"), "--force")
    kits = tmp_path / "poc" / "example_project" / "prod_00"
    for name in ("server", *BUNDLES):
        allow_our_classes(kits / name, storage=tmp_path / "storage")
    for site, bundle in BUNDLES.items():
        settings = {
            "version": 1, "site": site, "bundle": bundle, "data": str(federation / "sites" / site),
            "public": str(federation / "public"), "state": str(tmp_path / "state" / site),
            "device": "cpu", "threads": 1,
        }  # fmt: skip
        (kits / site / "local" / "site.json").write_text(json.dumps(settings))
    for site in BUNDLES:  # what docs/site.md tells a site that wants to enforce the filter whatever a job says
        text = (Path(__file__).resolve().parents[2] / "docs" / "site.md").read_text(encoding="utf-8")
        (policy,) = (block for block in re.findall(r"```json\n(.*?)```", text, re.DOTALL) if "scopes" in block)
        (kits / site / "local" / "privacy.json").write_text(policy)
    nvflare("start", "-ex", ADMIN)
    try:
        yield kits
    finally:
        nvflare("stop")


def submit_and_wait(kits: Path, job: Path, *, seconds: float = 300) -> str:
    """Submit a job as an administrator does and return its final status."""
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
    run_in_process(tmp_path / "one", experiment=expected)
    assert numbers_of(read_rows(results / "results.jsonl")) == numbers_of(read_rows(tmp_path / "one" / "results.jsonl"))
    assert (tmp_path / "state" / "site-2" / "trial" / "best.pt").is_file()
