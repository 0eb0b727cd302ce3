"""A process that another one started ends with it, even where that one is gone before it can say so."""

import os
import signal
import subprocess
import sys

import psutil
import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux' kernel ends a process with its parent")

CHILD = (
    "import os, sys, time; from mdhfl.runs.signals import die_with; "
    "die_with(int(sys.argv[1])); print(os.getpid(), flush=True)"
)


def test_a_process_whose_parent_is_alive_goes_on() -> None:
    done = subprocess.run([sys.executable, "-c", CHILD, str(os.getpid())], capture_output=True, text=True)

    assert done.returncode == 0
    assert done.stdout.strip().isdigit()


def test_a_process_whose_parent_ended_before_it_could_ask_is_killed() -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    done = subprocess.run([sys.executable, "-c", CHILD, str(gone.pid)], capture_output=True, text=True)

    assert (done.returncode, done.stdout) == (-signal.SIGKILL, "")


def test_a_process_ends_when_its_parent_is_killed() -> None:
    parent = (
        "import os, subprocess, sys; "
        "subprocess.run([sys.executable, '-c', sys.argv[1] + '; time.sleep(60)', str(os.getpid())])"
    )
    with subprocess.Popen([sys.executable, "-c", parent, CHILD], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        child = psutil.Process(int(process.stdout.readline()))
        process.kill()
        _, alive = psutil.wait_procs([child], timeout=30)

    assert not alive
