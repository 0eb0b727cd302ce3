"""FLARE's POC mode as its users have it: provisioned kits, real servers, jobs submitted through FLARE's API.

Follows docs/operator.md step by step. Own folders, own port, own job store; everything is stopped at the end.
"""

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import yaml

from mdhfl.flare.processes import processes_of, sweep

ADMIN = "admin@nvidia.com"
START_TIMEOUT = 240  # seconds; FLARE's own 30 are too few on a busy machine


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def project(port: int, *, sites: Mapping[str, str]) -> dict:
    """What `nvflare poc prepare -i` takes: one server, sites, one administrator."""
    org = {"org": "hospitals"}
    return {
        "api_version": 3,
        "name": "example_project",
        "participants": [
            {"name": "server", "type": "server", "fed_learn_port": port, "default_host": "localhost", **org},
            {"name": ADMIN, "type": "admin", "role": "project_admin", **org},
            *({"name": site, "type": "client", **org} for site in sites),
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


def environment_of(folder: Path) -> dict[str, str]:
    """Return the environment of a POC system below a folder."""
    return {
        **os.environ,
        "HOME": str(folder),
        "NVFLARE_POC_WORKSPACE": str(folder / "poc"),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }


def call(folder: Path, *command: str) -> str:
    """Run a command in the environment of a POC system; it must succeed."""
    done = subprocess.run(command, env=environment_of(folder), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def prepare_kits(folder: Path, federation: Path, *, sites: Mapping[str, str], may_share: str = "knowledge") -> Path:
    """Provision a POC system, and equip its kits; return the folder of the kits.

    Args:
        folder: of everything.
        federation: of the sites' data.
        sites: the bundle of each.
        may_share: what may leave a site.
    """
    (folder / "project.yml").write_text(yaml.safe_dump(project(free_port(), sites=sites)))
    call(folder, "nvflare", "poc", "prepare", "-i", str(folder / "project.yml"), "--force")
    kits = folder / "poc" / "example_project" / "prod_00"
    for name in ("server", *sites):
        own_storage(kits / name, storage=folder / "storage")
    call(folder, "mdhfl", "server-kit", "--out", str(kits / "server"))
    for site, bundle in sites.items():
        call(
            folder, "mdhfl", "site-kit", "--out", str(kits / site), "--site", site, "--bundle", bundle,
            "--data", str(federation / "sites" / site), "--public", str(federation / "public"),
            "--state", str(folder / "state" / site), "--may-share", may_share,
        )  # fmt: skip
    return kits


@contextlib.contextmanager
def running_poc(
    folder: Path, federation: Path, *, sites: Mapping[str, str], may_share: str = "knowledge"
) -> Iterator[Path]:
    """Start a POC system; give the folder of its kits. At the end nothing of it may be left, and nothing is."""
    kits = prepare_kits(folder, federation, sites=sites, may_share=may_share)
    try:
        call(folder, "nvflare", "poc", "start", "-ex", ADMIN, "--timeout", str(START_TIMEOUT))
        yield kits
        stop(folder, kits)
    finally:
        for name in ("server", *sites):
            sweep(kits / name)


def stop(folder: Path, kits: Path) -> None:
    """Stop a POC system as its user does; nothing of it may be left a minute later."""
    if left_behind(kits, seconds=0):
        # FLARE's own waiting sometimes gives up on a server that is gone already.
        call(folder, "nvflare", "poc", "stop", "--no-wait")
        assert not left_behind(kits, seconds=60), "processes of the kits are still running"


def left_behind(kits: Path, *, seconds: float) -> list[psutil.Process]:
    """Wait until no process of the kits is left; return those that stay."""
    deadline = time.monotonic() + seconds
    while True:
        running = [one for kit in kits.iterdir() if kit.is_dir() for one in processes_of(kit)]
        if not running or time.monotonic() > deadline:
            return running
        time.sleep(0.5)


def submit(kits: Path, job: Path, *, sites: int, seconds: float = 300) -> str:
    """Submit a job when all sites have registered; return its id."""
    deadline = time.monotonic() + seconds
    with session_of(kits, seconds=seconds) as session:
        while len(session.get_system_info().client_info) < sites:
            assert time.monotonic() < deadline, "the sites did not register"
            time.sleep(0.5)
        return str(session.submit_job(str(job)))


def wait_until_finished(kits: Path, job_id: str, *, seconds: float = 300) -> str:
    """Wait for a job's end and return its status."""
    deadline = time.monotonic() + seconds
    with session_of(kits, seconds=seconds) as session:
        while True:
            status = str(session.get_job_meta(job_id)["status"])
            if status.startswith("FINISHED"):
                return status
            assert time.monotonic() < deadline, f"job is still {status}"
            time.sleep(0.5)


def submit_and_wait(kits: Path, job: Path, *, sites: int = 2, seconds: float = 300) -> str:
    """Submit a job as an administrator does and return its final status."""
    return wait_until_finished(kits, submit(kits, job, sites=sites, seconds=seconds), seconds=seconds)


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
