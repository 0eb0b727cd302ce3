"""FLARE's simulator in a process of its own: its output in `flare.log`, its progress passed on."""

import os
import subprocess
import sys
import time
from pathlib import Path

from mdhfl.flare.lost_sites import LostSites
from mdhfl.flare.places import RUN
from mdhfl.flare.simulator import kill_simulator
from mdhfl.runs.progress import OnStep, Step, forget_steps, pass_on

CHECK_PERIOD = 0.2  # seconds
STARTS = 3  # of the simulator in one call, where a site's process ends before the run


class SimulatorFailed(RuntimeError):
    """The simulator ended without a result."""


def simulate_apart(folder: Path, *, on_step: OnStep) -> None:
    """Run a run folder's experiment in the simulator, and end all that it started when it ends.

    Where a site's process ends before the run, all are started again, twice at most, and go on after the last finished
    round.

    Args:
        folder: as `create_run` wrote it.
        on_step: called with every answer, and with a step "start" where all are started again.

    Raises:
        SimulatorFailed: no result; the message names the log and its last error, or the site that was lost.
    """
    log = folder / "flare.log"
    forget_steps(folder)
    seen = 0
    for left in reversed(range(STARTS)):
        seen, lost = _simulate(folder, log=log, seen=seen, on_step=on_step)
        if not lost:
            break
        ended = f"site {lost!r}: its process ended before the run, and FLARE's simulator starts none again"
        if not left:
            raise SimulatorFailed(f"{ended}; {STARTS} times. Is there enough memory? See {log}")
        told = f"{ended}: all sites start again, from the last finished round"
        on_step(Step(action="start", round=0, site=lost, refusal=told))
    if not (folder / "summary.json").exists():
        raise SimulatorFailed(f"FLARE's simulator ended without a result; {_last_error(log)}. See {log}")


def _simulate(folder: Path, *, log: Path, seen: int, on_step: OnStep) -> tuple[int, str]:
    """Run the simulator until it ends or has lost a site; return how many steps were seen, and that site if any."""
    lost = ""
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "mdhfl.flare.simulator", str(folder)],
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is ours to handle
            env={**os.environ, RUN: str(folder.resolve())},  # by which they are found even if the first has died
        )
        sites = LostSites(folder)
        try:
            while process.poll() is None and not lost:
                seen = pass_on(folder, seen, on_step)
                time.sleep(CHECK_PERIOD)
                lost = sites.look()
            seen = pass_on(folder, seen, on_step)
        finally:
            kill_simulator(process, run=folder)
    return seen, lost


def _last_error(log: Path) -> str:
    errors = [line for line in log.read_text(errors="replace").splitlines() if "ERROR" in line]
    return f"its last error: {errors[-1][-300:]}" if errors else "its log names no error"
