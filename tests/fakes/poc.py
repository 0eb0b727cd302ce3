"""FLARE's POC mode as its users have it: provisioned kits, real servers, jobs submitted through FLARE's API.

Follows docs/operator.md step by step. Own folders, own port, own job store; everything is stopped at the end.
"""

import contextlib
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import yaml

from mdhfl.flare.poc import own_port
from mdhfl.flare.processes import processes_of, sweep
from mdhfl.flare.project import project

ADMIN, LEAD = "admin@nvidia.com", "lead@nvidia.com"
START_TIMEOUT = 240  # seconds; FLARE's own 30 are too few on a busy machine


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


def prepare_kits(
    folder: Path, federation: Path, *, sites: Mapping[str, str], port: int, may_share: str = "knowledge"
) -> Path:
    """Provision a POC system, and equip its kits; return the folder of the kits.

    Args:
        folder: of everything.
        federation: of the sites' data.
        sites: the bundle of each.
        port: of the server.
        may_share: what may leave a site.
    """
    asked = project(name="example_project", sites=list(sites), server="server", port=port, admin=ADMIN, lead=LEAD)
    (folder / "project.yml").write_text(yaml.safe_dump(asked))
    call(folder, "nvflare", "poc", "prepare", "-i", str(folder / "project.yml"), "--force")
    kits = folder / "poc" / "example_project" / "prod_00"
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
    with own_port() as port:
        kits = prepare_kits(folder, federation, sites=sites, port=port, may_share=may_share)
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


def console(folder: Path, kits: Path, *commands: str, seconds: float = 200) -> str:
    """Type commands into the administrator's console, on a pseudo-terminal; return all that it shows."""
    own, its = pty.openpty()
    process = subprocess.Popen(
        [str(kits / ADMIN / "startup" / "fl_admin.sh")],
        stdin=its,
        stdout=its,
        stderr=its,
        env={**environment_of(folder), "TERM": "dumb"},
        start_new_session=True,
    )
    os.close(its)
    try:
        shown, deadline = "", time.monotonic() + seconds
        for command in (*commands, "bye"):
            said = ""
            while not said.endswith("> "):
                assert time.monotonic() < deadline, shown + said
                if select.select([own], [], [], 1.0)[0]:
                    said += os.read(own, 65536).decode(errors="replace")
            shown += said
            os.write(own, f"{command}\n".encode())
        process.wait(timeout=60)
        return shown
    finally:
        process.kill()
        process.wait()
        os.close(own)
