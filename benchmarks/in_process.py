"""Sites in one process and side by side: seconds a round, and the memory of a hundred small sites."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.flare_cost import small_federation

SITES = (4, 100)
ROUNDS = 2
CODE = """
import pathlib, sys, time
import psutil
from mdhfl.runs.folder import read_run
from mdhfl.runs.inprocess import run_in_process
folder, all_cores = pathlib.Path(sys.argv[1]), sys.argv[2] == "side by side"
ends, peak = {}, 0

def used():
    one = psutil.Process()
    return sum(each.memory_full_info().pss for each in [one, *one.children()])

def on_answer(request, answer):
    global peak
    if request.action != "finish":
        ends[request.round] = time.perf_counter()
    if answer.refusal:
        raise RuntimeError(answer.refusal)
    if request.action == "learn" and answer.site.endswith("01"):
        peak = max(peak, used())

run_in_process(folder, experiment=read_run(folder)[0], on_answer=on_answer, all_cores=all_cores)
print((ends[max(ends)] - ends[0]) / max(ends), peak / 2**20)
"""


def measure(folder: Path, *, sites: tuple[int, ...] = SITES) -> list[dict[str, Any]]:
    """Run small sites (32 training images of 32 px, ShuffleNetV2) one after another and on all cores, in turns.

    Returns:
        Per number of sites: seconds a round both ways, their ratio, and the memory of all processes.
    """
    return [_measure(folder / str(number), sites=number) for number in sites]


def _measure(folder: Path, *, sites: int) -> dict[str, Any]:
    _repeat(small_federation(folder / "drawn"), folder / "fed", sites=sites)
    turns, one = _run(folder, "in turn")
    side, all_of_them = _run(folder, "side by side")
    return {
        "sites": sites,
        "cores": len(os.sched_getaffinity(0)),
        "in turn s/round": round(turns, 2),
        "side by side s/round": round(side, 2),
        "ratio": round(turns / side, 2),
        "in turn MiB": round(one),
        "side by side MiB": round(all_of_them),
    }


def _repeat(source: Path, out: Path, *, sites: int) -> None:
    """Write a federation whose sites have the images of another one's: what they train costs the same."""
    card = json.loads((source / "federation.json").read_text(encoding="utf-8"))
    drawn = list(card["sites"])
    names = {f"site-{number + 1:03}": drawn[number % len(drawn)] for number in range(sites)}
    shutil.copytree(source / "public", out / "public")
    for name, like in names.items():
        shutil.copytree(source / "sites" / like, out / "sites" / name)
    card["sites"] = {name: card["sites"][like] for name, like in names.items()}
    (out / "federation.json").write_text(json.dumps(card), encoding="utf-8")


def _run(folder: Path, how: str) -> tuple[float, float]:
    from mdhfl.jobs import RECIPES
    from mdhfl.runs.folder import RunOptions, create_run

    out = folder / how
    options = RunOptions(
        federation=folder / "fed",
        bundles=("shufflenet_v2",),
        rounds=ROUNDS,
        changes={"warm_up_epochs": 1},
        command="a benchmark",
    )
    create_run(out, recipe=RECIPES["mdhfl"], options=options)
    command = [sys.executable, "-c", CODE, str(out), how]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    seconds, memory = said.split()
    return float(seconds), float(memory)
