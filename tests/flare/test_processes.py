"""What `mdhfl sweep` ends, and what it leaves alone: stand-ins for FLARE's processes with their command lines."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner

from mdhfl.commands.supervise import sweep_command
from mdhfl.flare.processes import processes_of, sweep

SLEEP = "import time; time.sleep(60)"
CLIENT = "nvflare.private.fed.app.client.client_train"
JOB = "nvflare.private.fed.app.client.worker_process"


class Started:
    """Processes of a test."""

    def __init__(self) -> None:
        self.all: list[subprocess.Popen] = []

    def __call__(self, *command: str) -> subprocess.Popen:
        self.all.append(subprocess.Popen(command))
        return self.all[-1]


@pytest.fixture
def start() -> Iterator[Started]:
    started = Started()
    yield started
    for process in started.all:
        process.kill()
        process.wait()


@pytest.fixture
def kit(tmp_path: Path) -> Path:
    (tmp_path / "site-1" / "startup").mkdir(parents=True)
    return tmp_path / "site-1"


def test_it_ends_script_client_and_stopped_job_of_this_kit_alone(tmp_path: Path, kit: Path, start: Started) -> None:
    script = kit / "startup" / "sub_start.sh"
    script.write_text("while true; do sleep 1; done\n")
    mine = [
        start("/bin/sh", str(script)),
        start(sys.executable, "-c", SLEEP, CLIENT, "-m", str(kit)),
        start(sys.executable, "-c", SLEEP, JOB, "-m", str(kit), "-w", str(kit / "startup")),
    ]
    others = [
        start(sys.executable, "-c", SLEEP, CLIENT, "-m", str(tmp_path / "site-10")),
        start(sys.executable, "-c", SLEEP, "an editor of", str(kit)),
    ]
    os.kill(mine[2].pid, signal.SIGSTOP)
    for name in ("pid.fl", "shutdown.fl"):
        (kit / name).write_text("1")
    deadline = time.monotonic() + 20
    while len(processes_of(kit)) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert {one.pid for one in processes_of(kit)} == {one.pid for one in mine}
    lines = sweep(kit)
    assert len(lines) == 3
    assert "sub_start.sh" in lines[0]
    assert not any(psutil.pid_exists(process.pid) for process in mine)
    assert all(process.poll() is None for process in others)
    assert not list(kit.glob("*.fl"))
    assert sweep(kit) == []


def test_the_command_says_what_it_did(tmp_path: Path, kit: Path) -> None:
    done = CliRunner().invoke(sweep_command, [str(kit)])
    assert done.output == f"{kit}: nothing was running\n"
    failed = CliRunner().invoke(sweep_command, [str(tmp_path)])
    assert isinstance(failed.exception, ValueError)
    assert "expected a FLARE startup kit" in str(failed.exception)
