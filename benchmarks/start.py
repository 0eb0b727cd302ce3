"""Time from `mdhfl run` to the first site's first gradient step, and where it goes."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

MARK = "first gradient step"
LAUNCHER = f"""
import sys, time
sys.argv = ["mdhfl", *sys.argv[1:]]
import mdhfl.commands.cli, mdhfl.learning.training as training
# Wrapped here, not in the product: the optimiser's first step writes one line.
import torch
step = torch.optim.Adam.step
def first(self, *a, **k):
    torch.optim.Adam.step = step
    print("{MARK}", flush=True)
    return step(self, *a, **k)
torch.optim.Adam.step = first
mdhfl.commands.cli.main()
"""


def measure(fed: Path, out: Path) -> list[dict[str, Any]]:
    """Start an in-process run with four architectures and time its first step; time the imports on their own.

    Args:
        fed: a federation folder.
        out: a folder that does not exist.
    """
    found = [
        {"what": what, "seconds": round(_seconds([sys.executable, "-c", code]), 1)}
        for what, code in (
            (
                "`mdhfl --help`",
                "import sys; sys.argv = ['mdhfl', '--help']; from mdhfl.commands import cli; cli.main()",
            ),
            ("import torch", "import torch"),
            ("import torch, torchvision, monai.bundle", "import torch, torchvision, monai.bundle"),
        )
    ]
    start = time.perf_counter()
    process = subprocess.Popen(
        [
            *(sys.executable, "-c", LAUNCHER, "run", "mdhfl", "--federation", str(fed)),
            *("--engine", "inprocess", "--rounds", "1", "--out", str(out)),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if MARK in line:
            found.append({"what": "`mdhfl run` to the first step", "seconds": round(time.perf_counter() - start, 1)})
            break
    process.kill()
    process.wait()
    seconds = _in_flare(fed, out.with_name("start-flare"))
    return [*found, {"what": "FLARE job of 4 sites to the first step", "seconds": round(seconds, 1)}]


def _in_flare(fed: Path, out: Path) -> float:
    """Return the seconds from `mdhfl run` in FLARE's simulator to the first answer, less the work on it."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "mdhfl.commands.cli", "run", "mdhfl", "--federation", str(fed), "--rounds", "1"]
    process = subprocess.Popen([*command, "--out", str(out)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    first = json.loads(_first_line(out / "progress.jsonl", process))
    seconds = time.perf_counter() - start
    _first_line(out / "results.jsonl", process)
    process.send_signal(signal.SIGINT)
    process.wait()
    rows = [json.loads(line) for line in (out / "results.jsonl").read_text(encoding="utf-8").splitlines()]
    (worked,) = (row["seconds"] for row in rows if row["site"] == first["site"] and row["round"] == 0)
    return seconds - float(sum(worked.values()))


def _first_line(path: Path, process: "subprocess.Popen[bytes]") -> str:
    while not (path.exists() and "\n" in path.read_text(encoding="utf-8")):
        if process.poll() is not None:
            raise RuntimeError(f"{path}: the run ended before there was a line")
        time.sleep(0.05)
    return path.read_text(encoding="utf-8").splitlines()[0]


def _seconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - start
