"""What is ended with a simulator: all that it started, also when it died first. Plain processes stand for FLARE's."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from mdhfl.flare import apart
from mdhfl.flare.apart import SimulatorFailed, simulate_apart
from mdhfl.flare.places import RUN
from mdhfl.flare.simulator import kill_simulator

WAIT = "time.sleep(60)"
SLEEP = f"import time; {WAIT}"
# Starts a process in a session of its own, as FLARE does with sites, writes its number, and waits.
PARENT = f"""
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", {SLEEP!r}], start_new_session=True)
print(child.pid, flush=True)
{WAIT}"""


class Family:
    """A simulator with a site, as they are started.

    Attributes:
        parent: the simulator.
        child: the site.
    """

    def __init__(self, run: Path, *, marked: bool) -> None:
        mark = {RUN: str(run)} if marked else {}
        self.parent = subprocess.Popen(
            [sys.executable, "-c", PARENT], stdout=subprocess.PIPE, start_new_session=True, env={**os.environ, **mark}
        )
        assert self.parent.stdout is not None
        self.child = psutil.Process(int(self.parent.stdout.readline()))
        self.parent.stdout.close()

    def end(self) -> None:
        self.parent.kill()
        self.parent.wait()
        with contextlib.suppress(psutil.NoSuchProcess):
            self.child.kill()


@pytest.fixture
def families(tmp_path: Path) -> Iterator[list[Family]]:
    """Of the run, of the same without a mark, and of another run whose name begins alike."""
    made = [Family(tmp_path, marked=True), Family(tmp_path, marked=False)]
    made.append(Family(tmp_path.with_name(f"{tmp_path.name}0"), marked=True))
    yield made
    for one in made:
        one.end()


def is_gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def test_what_a_killed_simulator_left_is_found_by_its_run(tmp_path: Path, families: list[Family]) -> None:
    """`poll` has reaped it, and what it started is nobody's child any more."""
    mine, _, other = families
    mine.parent.kill()
    while mine.parent.poll() is None:
        time.sleep(0.01)
    assert not is_gone(mine.child)
    kill_simulator(mine.parent, run=tmp_path)
    assert is_gone(mine.child)
    assert not is_gone(other.child)


def test_a_living_simulator_is_ended_with_all_that_it_started(tmp_path: Path, families: list[Family]) -> None:
    _, unmarked, other = families
    kill_simulator(unmarked.parent, run=tmp_path / "elsewhere")
    assert unmarked.parent.poll() is not None
    assert is_gone(unmarked.child)
    assert not is_gone(other.child)
    assert other.parent.poll() is None


def test_who_asks_is_spared_even_if_it_belongs_to_the_run(tmp_path: Path) -> None:
    code = (
        "import os, pathlib, subprocess, sys; from mdhfl.flare.simulator import kill_simulator\n"
        "done = subprocess.Popen([sys.executable, '-c', '']); done.wait()\n"
        f"kill_simulator(done, run=pathlib.Path({str(tmp_path)!r})); print('here')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, RUN: str(tmp_path)}, capture_output=True, text=True, check=True
    )
    assert done.stdout == "here\n"


def test_a_run_whose_simulator_is_killed_ends_and_leaves_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the kernel does when memory runs out: the simulator dies, its sites do not."""
    killed = f"{PARENT.removesuffix(WAIT)}import os; os.kill(os.getpid(), 9)"

    def start(command: list[str], **how: Any) -> "subprocess.Popen[bytes]":
        assert command[1:] == ["-m", "mdhfl.flare.simulator", str(tmp_path)]
        return subprocess.Popen([sys.executable, "-c", killed], **how)

    monkeypatch.setattr(apart, "subprocess", SimpleNamespace(Popen=start, STDOUT=subprocess.STDOUT))
    with pytest.raises(SimulatorFailed, match="ended without a result; its log names no error"):
        simulate_apart(tmp_path, on_step=lambda step: None)
    child = int((tmp_path / "flare.log").read_text())
    assert not psutil.pid_exists(child) or is_gone(psutil.Process(child))
