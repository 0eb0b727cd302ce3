"""A job's process that dies, stops or loses its parent: with real processes, and a stand-in for FLARE's command."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import psutil
import pytest
from nvflare.apis.job_launcher_spec import JobReturnCode
from nvflare.app_common.job_launcher.process_launcher import ProcessHandle
from nvflare.utils.process_utils import spawn_process

from mdhfl.flare import launchers
from mdhfl.flare.launchers import TIE, WatchedProcess, tied

PATIENCE = 20.0


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launchers, "CHECK_PERIOD", 0.02)
    monkeypatch.setattr(launchers, "LONGEST_STOP", 0.3)


class Starts:
    """Starts processes that run a line of Python, and remembers them."""

    def __init__(self, line: str) -> None:
        self.line = line
        self.pids: list[int] = []

    def __call__(self) -> ProcessHandle:
        handle = ProcessHandle(process_adapter=spawn_process([sys.executable, "-c", self.line], dict(os.environ)))
        self.pids.append(handle.adapter.pid)
        return handle


@pytest.fixture
def sleeping() -> Iterator[Starts]:
    starts = Starts("import time; time.sleep(60)")
    yield starts
    for pid in starts.pids:
        if psutil.pid_exists(pid):
            os.kill(pid, signal.SIGKILL)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("harm", [signal.SIGKILL, signal.SIGSEGV, signal.SIGSTOP])
def test_a_process_that_is_killed_or_stopped_is_followed_by_another(sleeping: Starts, harm: signal.Signals) -> None:
    watched = WatchedProcess(sleeping, restarts=2)
    os.kill(sleeping.pids[0], harm)
    until(lambda: len(sleeping.pids) == 2)
    assert not psutil.pid_exists(sleeping.pids[0])
    assert watched.poll() == JobReturnCode.UNKNOWN  # FLARE notices nothing
    watched.terminate()
    watched.wait()
    assert len(sleeping.pids) == 2


def test_a_process_that_goes_on_after_a_short_stop_is_left_alone(
    sleeping: Starts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launchers, "LONGEST_STOP", 30.0)
    watched = WatchedProcess(sleeping, restarts=2)
    for harm in (signal.SIGSTOP, signal.SIGCONT):
        os.kill(sleeping.pids[0], harm)
        time.sleep(0.2)
    assert sleeping.pids == [sleeping.pids[0]]
    assert psutil.pid_exists(sleeping.pids[0])
    watched.terminate()
    watched.wait()


def test_a_process_that_dies_too_often_is_given_up_and_flare_hears_of_no_failure(sleeping: Starts) -> None:
    watched = WatchedProcess(sleeping, restarts=1)
    for number in (1, 2):
        until(lambda number=number: len(sleeping.pids) == number)  # type: ignore[misc]
        os.kill(sleeping.pids[-1], signal.SIGKILL)
    watched.wait()
    assert len(sleeping.pids) == 2
    assert watched.poll() == JobReturnCode.UNKNOWN


def test_the_servers_process_is_not_started_again_and_its_death_is_a_failure(sleeping: Starts) -> None:
    watched = WatchedProcess(sleeping, restarts=0)
    os.kill(sleeping.pids[0], signal.SIGKILL)
    watched.wait()
    assert len(sleeping.pids) == 1
    assert watched.poll() == JobReturnCode.EXECUTION_ERROR


def test_flare_ends_even_a_stopped_process_for_good(sleeping: Starts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launchers, "LONGEST_STOP", 30.0)
    watched = WatchedProcess(sleeping, restarts=2)
    os.kill(sleeping.pids[0], signal.SIGSTOP)
    watched.terminate()
    watched.wait()
    assert len(sleeping.pids) == 1
    assert not psutil.pid_exists(sleeping.pids[0])


@pytest.mark.parametrize(("code", "expected"), [(0, JobReturnCode.SUCCESS), (1, JobReturnCode.EXECUTION_ERROR)])
def test_a_process_that_ends_by_itself_is_not_started_again(code: int, expected: int) -> None:
    starts = Starts(f"raise SystemExit({code})")
    watched = WatchedProcess(starts, restarts=2)
    watched.wait()
    assert watched.poll() == expected
    assert len(starts.pids) == 1


def test_a_process_that_cannot_be_started_is_an_error() -> None:
    def fails() -> ProcessHandle:
        raise OSError("no such program")

    with pytest.raises(OSError, match="no such program"):
        WatchedProcess(fails, restarts=2)


@pytest.mark.skipif(sys.platform != "linux", reason="Linux's kernel does it")
def test_a_stopped_process_dies_with_its_parent() -> None:
    """What FLARE's own check cannot do: a stopped process checks nothing."""
    line = "import os,signal,time; os.kill(os.getpid(), signal.SIGSTOP); time.sleep(60)"
    assert TIE in tied("x")
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import subprocess,sys,time; p=subprocess.Popen(sys.argv[1:]); print(p.pid, flush=True); time.sleep(60)",
            *[sys.executable, "-I", "-c", TIE, sys.executable, "-c", line],
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        until(lambda: child.status() == psutil.STATUS_STOPPED)
    finally:
        parent.kill()
        parent.wait()
    until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)
