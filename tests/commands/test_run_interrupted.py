"""Ctrl-C ends `mdhfl run` in both engines: nothing goes on behind it, and what is finished is kept."""

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from fakes.commands import mdhfl, run_arguments
from fakes.simulated import heed_ctrl_c, numbers_of

from mdhfl.runs.folder import read_record, write_record
from mdhfl.server.journal import read_rows

MDHFL = (sys.executable, "-m", "mdhfl.commands.cli")
pytestmark = pytest.mark.slow


def started(*words: object) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [*MDHFL, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=heed_ctrl_c
    )


def wait_for(what: Callable[[], bool], *, process: "subprocess.Popen[str]", seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)


def rows_in(out: Path) -> int:
    results = out / "results.jsonl"
    return len(read_rows(results)) if results.exists() else 0


def test_ctrl_c_keeps_every_finished_round_and_says_how_to_go_on(
    tmp_path: Path, federation: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = started(*run_arguments(federation, tmp_path / "a", "--rounds", 30))
    wait_for(lambda: rows_in(tmp_path / "a") >= 4, process=process)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "--resume" in error
    assert "Traceback" not in error
    done = read_rows(tmp_path / "a" / "results.jsonl")[-1]["round"]
    assert 1 <= done < 30
    write_record(tmp_path / "a", {**read_record(tmp_path / "a"), "rounds": done + 1})  # a short rest for a short test
    assert mdhfl(monkeypatch, *run_arguments(federation, tmp_path / "a", "--resume")) == 0
    assert mdhfl(monkeypatch, *run_arguments(federation, tmp_path / "b", "--rounds", done + 1)) == 0
    one, other = (numbers_of(read_rows(tmp_path / name / "results.jsonl")) for name in "ab")
    assert one == other


@pytest.mark.parametrize("moment", ["FLARE's processes have started", "a round is finished"])
def test_ctrl_c_ends_flares_simulator_and_all_that_it_started(moment: str, tmp_path: Path, federation: Path) -> None:
    out = tmp_path / "a"
    process = started(*run_arguments(federation, out, "--rounds", 30, engine="flare"))
    family: set[psutil.Process] = set()

    def has_come() -> bool:
        family.update(psutil.Process(process.pid).children(recursive=True))
        return len(family) >= 3 if moment.startswith("FLARE") else rows_in(out) >= 4

    try:
        wait_for(has_come, process=process)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=60)
        assert process.returncode == 1
        assert "--resume" in error
        assert "Traceback" not in error
        _, left = psutil.wait_procs(family, timeout=10)
        assert not left
    finally:
        process.kill()
        for each in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
