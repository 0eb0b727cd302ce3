"""A POC system whose processes fail: what a test needs to harm it, to wait, and to keep what it measured."""

import csv
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from fakes.poc import ADMIN, environment_of, submit
from mdhfl.commands.recipe import experiment_on
from mdhfl.flare.job import export_job
from mdhfl.flare.processes import MODULES, processes_of
from mdhfl.jobs import RECIPES
from mdhfl.server.journal import read_rows

MEASURED = os.environ.get("MDHFL_FAULTS")  # the CSV that `make faults` writes
SITES = {"site-1": "resnet10", "site-2": "resnet10"}
DEADLINE = 20.0  # seconds of a round
NOTHING = "nothing"


@dataclass(frozen=True)
class Poc:
    """A running POC system."""

    folder: Path
    kits: Path
    federation: Path

    def job(self, name: str, *, rounds: int, recipe: str = "mdhfl", deadline: float = DEADLINE) -> Path:
        """Export a job of an experiment that goes on with one site."""
        experiment = experiment_on(
            RECIPES[recipe], federation=self.federation, identity=name, seed=0, rounds=rounds, pairs=()
        )
        out = self.folder / "jobs" / name
        return export_job(replace(experiment, min_sites=1), name="mdhfl", out=out, round_timeout=deadline)

    def rows(self, name: str) -> list[dict]:
        path = self.kits / "server" / "experiments" / name / "results.jsonl"
        return read_rows(path) if path.exists() else []

    def submit(self, name: str, *, rounds: int) -> str:
        """Submit a job and wait for its first round."""
        job_id = submit(self.kits, self.job(name, rounds=rounds), sites=len(SITES))
        wait_for(lambda: self.rows(name))
        return job_id

    def job_process(self, kit: str, job_id: str) -> psutil.Process:
        (found,) = [one for one in processes_of(self.kits / kit) if job_id in one.info["cmdline"]]
        return found

    def parents(self, kit: str) -> list[psutil.Process]:
        """Return the processes of a kit but its script: the program that FLARE runs, and its jobs."""
        return [one for one in processes_of(self.kits / kit) if MODULES in " ".join(one.info["cmdline"])]

    def back(self, name: str, *, site: str = "site-1") -> Callable[[], bool]:
        """Return whether a site has answered in a round that is not recorded yet."""
        last = self.rows(name)[-1]["round"]
        return lambda: any(
            row["site"] == site and row["status"] == "ok" and row["round"] > last for row in self.rows(name)
        )

    def missed(self, name: str, *, after: int = 0) -> list[dict]:
        return [row for row in self.rows(name)[after:] if row["status"] != "ok"]

    def lost(self, name: str, *, after: int = 0) -> str:
        """Say what the results lack."""
        missed = self.missed(name, after=after)
        assert len({row["site"] for row in missed}) <= 1, "the other site was harmed as well"
        rounds = "1 round" if len(missed) == 1 else f"{len(missed)} rounds"
        return f"{rounds} of that site" if missed else NOTHING


def wait_for(condition: Callable[[], object], *, seconds: float = 240) -> float:
    """Wait until a condition holds; return how long it took."""
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < seconds, "it did not happen in time"
        time.sleep(0.1)
    return time.monotonic() - start


@dataclass(frozen=True)
class Log:
    """What is written into a file from now on."""

    path: Path
    skipped: int

    @classmethod
    def of(cls, path: Path) -> "Log":
        return cls(path=path, skipped=path.stat().st_size if path.exists() else 0)

    def says(self, pattern: str) -> Callable[[], bool]:
        return lambda: self.line(pattern) is not None

    def line(self, pattern: str) -> str | None:
        """Return the first line that matches, without the clock and the logger's name."""
        if not self.path.exists():
            return None
        with self.path.open("rb") as file:
            file.seek(self.skipped)
            lines = file.read().decode(errors="replace").splitlines()
        found = next((line for line in lines if re.search(pattern, line)), None)
        return None if found is None else found[re.search(pattern, found).start() :]  # type: ignore[union-attr]


def record(fault: str, *, detected: float, whole: float, lost: str, reads: str | None) -> None:
    """Keep a measured row for docs/reliability.md."""
    assert reads
    if MEASURED is None:
        return
    with Path(MEASURED).open("a", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if not file.tell():
            writer.writerow(["fault", "detected_seconds", "whole_seconds", "lost", "reads"])
        reads = re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "<job>", reads)
        writer.writerow([fault, f"{detected:.0f}", f"{whole:.0f}", lost, reads])


@contextmanager
def supervised(poc: Poc, name: str, *, rounds: int) -> Iterator[tuple[subprocess.Popen, Log]]:
    """Run `mdhfl supervise`; give its process and what it says."""
    job, said = poc.job(name, rounds=rounds, deadline=120.0), poc.folder / f"{name}.txt"
    with said.open("w") as file:
        command = ["mdhfl", "supervise", str(job), "--kit", str(poc.kits / ADMIN), "--pause", "5"]
        process = subprocess.Popen(
            command,
            env=environment_of(poc.folder) | {"PYTHONUNBUFFERED": "1"},
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield process, Log(path=said, skipped=0)
        finally:
            process.kill()
            process.wait()


def first_job(said: Log) -> str:
    line = said.line(r"submitted as job")
    assert line is not None
    return line.split()[-1]
