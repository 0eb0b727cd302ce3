"""A comparison from its YAML file to tables: what is missing is run, what is finished is tabled."""

import os
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mdhfl.comparison.checks import check_all
from mdhfl.comparison.cluster import Cluster
from mdhfl.comparison.curves import SCORE, curve_of, write_curves
from mdhfl.comparison.figure import draw
from mdhfl.comparison.grid import Cell, read_comparison
from mdhfl.comparison.numbers import score_rows
from mdhfl.comparison.place import Workplace, finished
from mdhfl.comparison.schedule import Schedule
from mdhfl.comparison.table import Found, markdown, rows_of, site_rows_of
from mdhfl.comparison.watch import Silent, list_runs, shown
from mdhfl.comparison.workers import Executor, LocalWorkers, stopped_once
from mdhfl.extras import require
from mdhfl.learning.device import check_device
from mdhfl.showing.sheets import to_csv
from mdhfl.showing.terminal import say

EXECUTORS = ("local", "slurm")


@dataclass(frozen=True, kw_only=True)
class Compared:
    """What came of a comparison.

    Attributes:
        found: the finished runs.
        asked: how many runs the file asks for.
        failures: run -> why it failed.
        tables: all tables as Markdown; empty if no run is finished.
    """

    found: tuple[Found, ...]
    asked: int
    failures: Mapping[Cell, str]
    tables: str

    @property
    def rows(self) -> list[dict[str, Any]]:
        """One row per run: its scores in per cent, and what it cost."""
        return rows_of(self.found)


def compare(
    file: str | Path,
    *,
    out: str | Path,
    data: str | Path = ".",
    work: str | Path = "comparisons",
    workers: int | None = None,
    executor: str = "local",
    device: str = "cpu",
    table_only: bool = False,
    progress: bool = False,
) -> Compared:
    """Run what a comparison still lacks, and write its tables, CSV files and figures (docs/rivals.md).

    Args:
        file: the comparison, see `mdhfl compare --help`.
        out: folder for the tables.
        data: folder of the raw data.
        work: folder for federations, decoded images and runs; may serve several comparisons.
        workers: runs at a time; None: one per core.
        executor: "local", or "slurm" for jobs of a cluster, see `cluster.py`.
        device: "cpu", "cuda" or "cuda:<n>".
        table_only: run nothing.
        progress: list the runs and show bars on standard error.

    Raises:
        MissingExtra: what draws is not installed.
        ValueError: the file asks for what there is not, or what runs need is missing or wrong; no run has begun.
    """
    require("report", what="a comparison's tables and figure")
    if executor not in EXECUTORS:
        raise ValueError(f"executor: expected one of {', '.join(EXECUTORS)}, got {executor!r}")
    comparison = read_comparison(Path(file))
    workers = workers or os.cpu_count() or 1
    place = Workplace(data=Path(data).resolve(), work=Path(work).resolve(), threads=1, device=device)
    failures: Mapping[Cell, str] = {}
    if not table_only:
        if executor == "local":  # a cluster's machines have what this one may lack
            check_device(device)
        opened = LocalWorkers(workers) if executor == "local" else _cluster(place)
        failures = run_missing(comparison.cells, place=place, executor=opened, slots=workers, progress=progress)
    records = {cell: finished(cell, place) for cell in comparison.cells}
    found = tuple(Found(cell=cell, record=record) for cell, record in records.items() if record is not None)
    tables = write_tables(Path(out), comparison.question, found) if found else ""
    if found:
        write_curves([row for one in found for row in _curve(one.cell, place)], Path(out))
        (Path(out) / "scores.csv").write_text(to_csv(score_rows(found, place)), encoding="utf-8", newline="")
    return Compared(found=found, asked=len(comparison.cells), failures=failures, tables=tables)


def _curve(cell: Cell, place: Workplace) -> list[dict[str, Any]]:
    """Return a row per round."""
    asked = {"federation": cell.federation, "noise": cell.noise, "method": cell.method, "seed": cell.seed}
    return [{**asked, "round": number, SCORE: value} for number, value in enumerate(curve_of(place.run(cell)))]


def write_tables(out: Path, question: str, found: Sequence[Found]) -> str:
    """Write the tables, the CSVs and the figure of finished runs, and return the tables."""
    out.mkdir(parents=True, exist_ok=True)
    tables = markdown(question, found)
    (out / "results.csv").write_text(to_csv(rows_of(found)), encoding="utf-8", newline="")
    (out / "sites.csv").write_text(to_csv(site_rows_of(found)), encoding="utf-8", newline="")
    (out / "table.md").write_text(tables, encoding="utf-8")
    draw(found, out / "figure.svg")
    return tables


def run_missing(
    cells: Sequence[Cell], *, place: Workplace, executor: Executor, slots: int, progress: bool = False
) -> dict[Cell, str]:
    """Check what is missing, all of it before any run, and run it.

    Args:
        cells: of one or more comparisons; each is run, or continued if it was interrupted.
        place: where.
        executor: does the work; it is ended with this.
        slots: runs at a time.
        progress: list the runs and show bars on standard error.

    Returns:
        Why a run failed, for those that did: one that fails does not stop the others.

    Raises:
        ValueError: what runs need is missing or wrong.
    """
    records = {cell: finished(cell, place) for cell in cells}
    missing = [cell for cell, record in records.items() if record is None]
    once = list({cell.run_folder: cell for cell in reversed(missing)}.values())[::-1]
    if progress:
        for line in list_runs(cells, missing, slots=slots):
            say(line, error=True)
    known: dict[str, list[float]] = {}
    for cell, record in records.items():
        if record is not None:
            known.setdefault(cell.method, []).append(record["wall_seconds"])
    if once:
        say("checking first: raw data, and a training step with every bundle", error=True)
    with stopped_once(executor):
        check_all(once, place, executor)
        schedule = Schedule(cells=once, place=place, executor=executor, slots=slots)
        with shown(place, known=known, slots=slots) if progress and once else nullcontext(Silent()) as watcher:
            failed = {cell.run_folder: reason for cell, reason in schedule.run(watcher).items()}
    return {cell: failed[cell.run_folder] for cell in missing if cell.run_folder in failed}


def _cluster(place: Workplace) -> Cluster:
    return Cluster(place.work / "submitit", threads=place.threads, device=place.device)
