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

from mdhfl.flare import apart, lost_sites
from mdhfl.flare.apart import SimulatorFailed, simulate_apart
from mdhfl.flare.places import RUN
from mdhfl.flare.simulator import kill_simulator
from mdhfl.runs.progress import Step

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


# Starts the processes of two sites, ends the first one's while a file says so, and otherwise finishes the run.
SIMULATOR = f"""
import pathlib, subprocess, sys, time
run = pathlib.Path({{run!r}})
sites = [
    subprocess.Popen([sys.executable, "-c", {SLEEP!r}, {lost_sites.WORKER!r}, "--client", name], start_new_session=True)
    for name in ("site-1", "site-2")
]
time.sleep(1)
left = int((run / "lose").read_text())
if not left:
    (run / "summary.json").write_text("{{{{}}}}")
    sys.exit()
(run / "lose").write_text(str(left - 1))
sites[0].kill()
{WAIT}"""


@pytest.fixture
def losing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run whose simulator loses its first site as often as the file `lose` says."""

    def start(command: list[str], **how: Any) -> "subprocess.Popen[bytes]":
        return subprocess.Popen([sys.executable, "-c", SIMULATOR.format(run=str(tmp_path))], **how)

    monkeypatch.setattr(apart, "subprocess", SimpleNamespace(Popen=start, STDOUT=subprocess.STDOUT))
    monkeypatch.setattr(lost_sites, "PERIOD", 0.1)
    monkeypatch.setattr(lost_sites, "GRACE", 1.0)
    return tmp_path


def test_a_simulator_that_has_lost_a_site_is_started_again_and_it_is_said(losing: Path) -> None:
    (losing / "lose").write_text("2")
    steps: list[Step] = []
    simulate_apart(losing, on_step=steps.append)
    assert [(step.action, step.site) for step in steps] == [("start", "site-1")] * 2
    assert steps[0].refusal.startswith("site 'site-1': its process ended before the run, and FLARE's simulator starts")


def test_a_site_that_is_lost_again_and_again_ends_the_run_by_name(losing: Path) -> None:
    (losing / "lose").write_text("9")
    with pytest.raises(SimulatorFailed, match=r"site 'site-1': its process ended .*; 3 times\. Is there enough mem"):
        simulate_apart(losing, on_step=lambda step: None)
    assert (losing / "lose").read_text() == "6"


def test_the_page_on_reliability_says_how_long_and_how_often() -> None:
    page = (Path(__file__).parents[2] / "docs" / "reliability.md").read_text(encoding="utf-8")
    assert f"ends it {lost_sites.GRACE:.0f} s after" in page
    assert apart.STARTS == 3
    assert "twice at most" in page


def test_a_run_that_ends_after_its_sites_has_lost_none(losing: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sites end first, then the simulator: within the grace nothing is said, nor where there is a result."""
    monkeypatch.setattr(lost_sites, "GRACE", 60.0)
    worker = [sys.executable, "-c", SLEEP, lost_sites.WORKER, "--client", "site-1"]
    site = subprocess.Popen(worker, env={**os.environ, RUN: str(losing)})
    watch = lost_sites.LostSites(losing)
    assert watch.look() == ""
    site.kill()
    site.wait()
    time.sleep(0.2)
    assert watch.look() == ""
    monkeypatch.setattr(lost_sites, "GRACE", 0.1)
    time.sleep(0.2)
    assert watch.look() == "site-1"
    (losing / "summary.json").write_text("{}")
    time.sleep(0.2)
    assert watch.look() == ""
