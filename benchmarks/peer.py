"""FedMD here and in Flower: the same four networks, images and gradient steps, wall time side by side."""

import os
import re
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

BUNDLES = ("shufflenet_v2", "resnet10", "mobilenet_v2", "resnet12")
ROUNDS = 5
QUIET = {"FLWR_TELEMETRY_ENABLED": "0", "RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"}


def measure(folder: Path, *, per_site: int = 320, public: int = 160, repetitions: int = 2) -> list[dict[str, Any]]:
    """Run FedMD for five rounds after a warm-up in Flower, in one process and in FLARE's simulator, in turns.

    Returns:
        For each: seconds from the command to its end, seconds a round after the warm-up, and the sites' mean accuracy
        on their own test images in the last round, means over the repetitions.

    Raises:
        RuntimeError: Flower is not installed.
    """
    try:
        flower = f"Flower {version('flwr')}, Ray {version('ray')}"
    except PackageNotFoundError as error:
        raise RuntimeError("peer: expected Flower, found none: uv pip install 'mdhfl[peer]'") from error
    federation = _federation(folder / "fed", per_site=per_site, public=public)
    found: dict[str, list[tuple[float, float, float]]] = {}
    for repetition in range(repetitions):
        found.setdefault(flower, []).append(_flower(federation))
        for engine, name in (("inprocess", "mdhfl, in process"), ("flare", "mdhfl, FLARE's simulator")):
            found.setdefault(name, []).append(_ours(federation, folder / f"{engine}-{repetition}", engine=engine))
    return [_row(name, runs) for name, runs in found.items()]


def _row(name: str, runs: list[tuple[float, float, float]]) -> dict[str, Any]:
    whole, a_round, accuracy = (sum(column) / len(runs) for column in zip(*runs, strict=True))
    return {
        "FedMD in": name,
        "whole command s": round(whole, 1),
        "s/round": round(a_round, 2),
        "own accuracy %": round(100 * accuracy, 1),
    }


def _flower(federation: Path) -> tuple[float, float, float]:
    command = [sys.executable, "-m", "benchmarks.peer_flower", str(federation), str(ROUNDS), *BUNDLES]
    began = time.perf_counter()
    said = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ | QUIET).stdout
    whole = time.perf_counter() - began
    lines = re.findall(r"^round (\d+) ([\d.]+) ([\d.]+)$", said, re.MULTILINE)
    number, seconds, accuracy = lines[-1]
    return whole, float(seconds) / int(number), float(accuracy)


def _ours(federation: Path, out: Path, *, engine: str) -> tuple[float, float, float]:
    from mdhfl.server.journal import read_rows

    command = [
        sys.executable,
        "-m",
        "mdhfl.commands.cli",
        "run",
        "fedmd",
        "--federation",
        str(federation),
        "--engine",
        engine,
    ]
    command += ["--rounds", str(ROUNDS), "--set", "warm_up_epochs=1", "--set", "local_epochs=2"]
    command += ["--set", "align_epochs=1", "--out", str(out)]
    results = out / "results.jsonl"
    ends: dict[int, float] = {}  # rounds that every site has answered -> when
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, env=os.environ | QUIET) as process:
        while process.poll() is None:
            lines = results.read_bytes().count(b"\n") if results.exists() else 0
            ends.setdefault(lines // len(BUNDLES), time.perf_counter())
            time.sleep(0.02)
    whole = time.perf_counter() - began
    if process.returncode:
        raise RuntimeError(f"peer: {' '.join(command)} failed with {process.returncode}")
    last = [row for row in read_rows(results) if row["round"] == ROUNDS]
    accuracy = sum(row["test"]["accuracy"] for row in last) / len(last)
    return whole, (ends[ROUNDS + 1] - ends[1]) / ROUNDS, accuracy


def _federation(folder: Path, *, per_site: int, public: int) -> Path:
    from mdhfl.preprocessing.arguments import PrepareArguments
    from mdhfl.preprocessing.prepare import prepare

    prepare(
        PrepareArguments(
            source="synthetic",
            out=folder,
            sites=len(BUNDLES),
            per_site=per_site,
            public="synthetic",
            public_count=public,
            classes=("eosinophil", "erythroblast", "lymphocyte_typical", "monocyte", "neutrophil_segmented"),
            split="iid",
            image_size=32,
        ),
        workers=1,
    )
    return folder
