"""The steps of `make demo`: seconds, processor seconds, and what lies on the disk afterwards."""

import re
import resource
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.install import size_of

MAKEFILE = Path(__file__).resolve().parents[1] / "Makefile"
UNIT = 10**6  # bytes


def measure(folder: Path) -> list[dict[str, Any]]:
    """Type what the Makefile's `demo` types, with another folder.

    Args:
        folder: does not exist yet.

    Returns:
        Per step and in all: seconds, those of all processes on processors, and megabytes written.
    """
    found: list[dict[str, Any]] = []
    for words in demo_commands(folder):
        before, started, spent = size_of(folder), time.perf_counter(), _children()
        subprocess.run([sys.executable, "-m", "mdhfl.commands.cli", *words], check=True, capture_output=True)
        found.append(
            {
                "step": f"`mdhfl {' '.join(words[:2] if words[0] != 'report' else words[:1])}`",
                "seconds": round(time.perf_counter() - started, 1),
                "CPU seconds": round(_children() - spent, 1),
                "MB": round((size_of(folder) - before) / UNIT, 1),
            }
        )
    sums = {name: round(sum(row[name] for row in found), 1) for name in ("seconds", "CPU seconds", "MB")}
    state = sum(size_of(path) for path in folder.glob("run/sites"))
    kept = {"seconds": "", "CPU seconds": "", "MB": round(state / UNIT, 1)}
    return [*found, {"step": "all", **sums}, {"step": "of it: the four sites' state of MDH-FL+", **kept}]


def demo_commands(folder: Path) -> list[list[str]]:
    """Return the words after `mdhfl` of each line of the Makefile's `demo`."""
    text = MAKEFILE.read_text(encoding="utf-8").replace("\\\n", " ")
    lines = re.search(r"(?m)^demo:.*\n((?:\t.*\n)+)", text)
    assert lines is not None, "no demo in the Makefile"
    typed = [shlex.split(line.replace("$(DEMO)", str(folder))) for line in lines[1].splitlines()]
    return [words[1:] for words in typed if words[0] == "$(BIN)/mdhfl"]


def _children() -> float:
    """Return the processor seconds of all processes that were waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
