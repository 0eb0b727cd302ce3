"""A process that another one started ends with it; what must not be left in the midst hears Ctrl-C at its end."""

import os
import signal
import subprocess
import sys

import psutil
import pytest

from mdhfl.runs.signals import held_back

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux' kernel ends a process with its parent")

CHILD = (
    "import os, sys, time; from mdhfl.runs.signals import die_with; "
    "die_with(int(sys.argv[1])); print(os.getpid(), flush=True)"
)


@linux
def test_a_process_whose_parent_is_alive_goes_on() -> None:
    done = subprocess.run([sys.executable, "-c", CHILD, str(os.getpid())], capture_output=True, text=True)

    assert done.returncode == 0
    assert done.stdout.strip().isdigit()


@linux
def test_a_process_whose_parent_ended_before_it_could_ask_is_killed() -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    done = subprocess.run([sys.executable, "-c", CHILD, str(gone.pid)], capture_output=True, text=True)

    assert (done.returncode, done.stdout) == (-signal.SIGKILL, "")


@linux
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


@pytest.mark.usefixtures("heeds_ctrl_c")
def test_ctrl_c_is_heard_when_what_holds_it_back_has_ended() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012
        with held_back():
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            done.append("held back")
        done.append("never")

    assert done == ["held back"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.usefixtures("heeds_ctrl_c")
def test_ctrl_c_is_heard_where_what_holds_it_back_fails() -> None:
    with pytest.raises(KeyboardInterrupt), held_back():  # noqa: PT012
        signal.raise_signal(signal.SIGINT)
        raise ValueError("unreachable")


def test_without_a_signal_nothing_is_raised_and_all_is_as_before() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with held_back():
        pass

    assert signal.getsignal(signal.SIGTERM) is before


def test_what_ends_a_program_ends_it_afterwards() -> None:
    code = (
        "import os, signal; from mdhfl.runs.signals import held_back\n"
        "with held_back():\n    os.kill(os.getpid(), signal.SIGTERM); print('held back', flush=True)\n"
        "print('never')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert (done.returncode, done.stdout) == (-signal.SIGTERM, "held back\n")
