"""The processes of a comparison: none is left, whatever stops it, and one that dies does not stop the others."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from fakes.simulated import heed_ctrl_c

from mdhfl.comparison.workers import LocalWorkers, stopped_once

# Two workers that each start a process of their own and wait; the word "ready" once both have.
WAITING = """
import sys, time
from pathlib import Path
from mdhfl.comparison.workers import LocalWorkers, stopped_once

def wait(folder, name):
    import subprocess
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
    (Path(folder) / name).touch()
    time.sleep(300)

if __name__ == "__main__":
    workers = LocalWorkers(2)
    with stopped_once(workers):
        for name in "ab":
            workers.submit(wait, sys.argv[1], name)
        time.sleep(300)
"""


def to_all(number: int) -> Callable[[int], None]:
    """Send a signal to a program and its processes, as a terminal does."""
    return lambda pid: os.killpg(pid, number)


def to_it(number: int) -> Callable[[int], None]:
    """Send a signal to a program alone, as a job scheduler does."""
    return lambda pid: os.kill(pid, number)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stops", "pause", "code"),
    [
        ([to_all(signal.SIGINT)], 0.0, -signal.SIGINT),
        ([to_all(signal.SIGINT), to_all(signal.SIGINT)], 0.0, -signal.SIGINT),
        ([to_all(signal.SIGINT), to_all(signal.SIGINT)], 0.02, -signal.SIGINT),
        ([to_it(signal.SIGTERM)], 0.0, 128 + signal.SIGTERM),
        ([to_it(signal.SIGTERM), to_all(signal.SIGINT)], 0.01, 128 + signal.SIGTERM),
        ([to_it(signal.SIGTERM), to_it(signal.SIGTERM)], 0.0, 128 + signal.SIGTERM),
    ],
    ids=["Ctrl-C", "twice at once", "twice", "SIGTERM", "SIGTERM and Ctrl-C", "SIGTERM twice"],
)
def test_whatever_stops_it_leaves_no_process(
    tmp_path: Path, stops: list[Callable[[int], None]], pause: float, code: int
) -> None:
    family, process = _started(tmp_path)
    try:
        began = time.monotonic()
        for stop in stops:
            with contextlib.suppress(ProcessLookupError):
                stop(process.pid)
            time.sleep(pause)
        process.wait(timeout=20)
        _, alive = psutil.wait_procs(family, timeout=5)
        took = time.monotonic() - began
    finally:
        _end(process, family)
    assert len(family) >= 4  # two workers and what each has started
    assert not [one for one in alive if one.status() != psutil.STATUS_ZOMBIE]
    assert took < 10
    assert process.returncode == code


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel that ends a process with its parent is Linux's")
def test_workers_end_with_a_program_that_is_killed(tmp_path: Path) -> None:
    family, process = _started(tmp_path)
    workers = [one for one in family if one.parent() and one.parent().pid == process.pid]
    try:
        process.kill()
        _, alive = psutil.wait_procs(workers, timeout=10)
    finally:
        _end(process, family)
    assert len(workers) >= 2
    assert not alive


def _started(folder: Path) -> tuple[list[psutil.Process], subprocess.Popen]:
    script = folder / "waiting.py"
    script.write_text(WAITING)
    process = subprocess.Popen(
        [sys.executable, str(script), str(folder)],
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=heed_ctrl_c,
    )
    deadline = time.monotonic() + 60
    while not ((folder / "a").exists() and (folder / "b").exists()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return psutil.Process(process.pid).children(recursive=True), process


def _end(process: subprocess.Popen, family: list[psutil.Process]) -> None:
    for one in (process, *family):
        with contextlib.suppress(ProcessLookupError, psutil.NoSuchProcess):
            one.kill()


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_process_that_dies_takes_its_own_task_with_it_and_others_go_on() -> None:
    workers = LocalWorkers(1)
    with stopped_once(workers):
        died = workers.submit(die)
        assert "terminated abruptly" in str(died.exception(timeout=60))
        assert workers.submit(abs, -3).result(timeout=60).value == 3
        failed = workers.submit(int, "x").result(timeout=60)
    assert failed.failure.startswith("ValueError: invalid literal")


def test_signals_are_as_they_were_afterwards() -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    with pytest.raises(RuntimeError), stopped_once(LocalWorkers(1)):
        raise RuntimeError
    assert {number: signal.getsignal(number) for number in before} == before
