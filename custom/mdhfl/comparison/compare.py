"""A comparison from its YAML file to tables: what is missing is run, what is finished is tabled."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mdhfl.comparison.curves import SCORE, curve_of, write_curves
from mdhfl.comparison.figure import draw
from mdhfl.comparison.grid import Cell, read_comparison
from mdhfl.comparison.runs import Workplace, finished, run_all
from mdhfl.comparison.table import Found, markdown, rows_of, site_rows_of
from mdhfl.extras import require
from mdhfl.showing.console import open_console
from mdhfl.showing.sheets import to_csv
from mdhfl.showing.texts import one_line


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
    work: str | Path = "runs",
    workers: int | None = None,
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
        device: "cpu", "cuda" or "cuda:<n>".
        table_only: run nothing.
        progress: show a bar on standard error.

    Raises:
        MissingExtra: what draws is not installed.
        ValueError: the file asks for what there is not.
    """
    require("report", what="a comparison's tables and figure")
    comparison = read_comparison(Path(file))
    workers = workers or os.cpu_count() or 1
    place = Workplace(data=Path(data).resolve(), work=Path(work).resolve(), threads=1, device=device)
    failures: Mapping[Cell, str] = {}
    if not table_only:
        failures = _run(comparison.cells, place=place, workers=workers, progress=progress)
    records = {cell: finished(cell, place) for cell in comparison.cells}
    found = tuple(Found(cell=cell, record=record) for cell, record in records.items() if record is not None)
    tables = write_tables(Path(out), comparison.question, found) if found else ""
    if found:
        write_curves([row for one in found for row in _curve(one.cell, place)], Path(out))
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


def _run(cells: Sequence[Cell], *, place: Workplace, workers: int, progress: bool) -> Mapping[Cell, str]:
    """Run what is missing, with a bar that says how much time is left."""
    missing = [cell for cell in cells if finished(cell, place) is None]
    if not progress:
        return run_all(missing, place=place, workers=workers, on_result=_silent)
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    text, bars = TextColumn("{task.description}", markup=False), BarColumn()
    columns = (text, bars, MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("left:"), TimeRemainingColumn())
    with Progress(*columns, console=open_console(error=True), speed_estimate_period=3600) as bar:
        task = bar.add_task(f"{len(cells) - len(missing)} runs were there", total=len(missing))

        def on_result(cell: Cell, record: Mapping[str, Any]) -> None:
            score = Found(cell=cell, record=record).score("macro_f1")
            what = f"{cell.method} on {cell.federation}, {cell.noise}, seed {cell.seed}"
            bar.console.print(f"{one_line(what)}: macro-F1 {score:.1f}, {record['wall_seconds']:.0f} s")
            bar.update(task, advance=1, description="comparing")

        return run_all(missing, place=place, workers=workers, on_result=on_result)


def _silent(cell: Cell, record: Mapping[str, Any]) -> None:
    pass
