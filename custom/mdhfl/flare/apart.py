"""FLARE's simulator in a process of its own: its output in `flare.log`, its progress passed on."""

import os
import subprocess
import sys
import time
from pathlib import Path

from mdhfl.flare.places import RUN
from mdhfl.flare.simulator import kill_simulator
from mdhfl.runs.progress import OnStep, forget_steps, pass_on

CHECK_PERIOD = 0.2  # seconds


class SimulatorFailed(RuntimeError):
    """The simulator ended without a result."""


def simulate_apart(folder: Path, *, on_step: OnStep) -> None:
    """Run a run folder's experiment in the simulator, and end all that it started when it ends.

    Args:
        folder: as `create_run` wrote it.
        on_step: called with every answer.

    Raises:
        SimulatorFailed: no result; the message names the log and its last error.
    """
    log = folder / "flare.log"
    forget_steps(folder)
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "mdhfl.flare.simulator", str(folder)],
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is ours to handle
            env={**os.environ, RUN: str(folder.resolve())},  # by which they are found even if the first has died
        )
        try:
            seen = 0
            while process.poll() is None:
                seen = pass_on(folder, seen, on_step)
                time.sleep(CHECK_PERIOD)
            pass_on(folder, seen, on_step)
        finally:
            kill_simulator(process, run=folder)
    if not (folder / "summary.json").exists():
        raise SimulatorFailed(f"FLARE's simulator ended without a result; {_last_error(log)}. See {log}")


def _last_error(log: Path) -> str:
    errors = [line for line in log.read_text(errors="replace").splitlines() if "ERROR" in line]
    return f"its last error: {errors[-1][-300:]}" if errors else "its log names no error"
