"""What a comparison shows while it works: which runs there are, what runs now, and how long the rest takes."""

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mdhfl.comparison.estimate import in_words, seconds_left
from mdhfl.comparison.grid import Cell
from mdhfl.comparison.place import Workplace
from mdhfl.comparison.schedule import Task
from mdhfl.comparison.table import Found
from mdhfl.files import StateError
from mdhfl.server.journal import read_journal
from mdhfl.showing.console import open_console

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class Silent:
    """Shows nothing."""

    def look(self, underway: Sequence[Task], waiting: Sequence[Cell]) -> None:
        """Ignore it."""

    def ended(self, cell: Cell, record: Mapping[str, Any]) -> None:
        """Ignore it."""

    def failed(self, what: str, reason: str, *, runs: int) -> None:
        """Ignore it: it is told at the end."""


class Bars:
    """A bar of all runs and one of each that runs now, on standard error; a line for each that has ended.

    Where standard error is no terminal, a line for each that begins, too, and no bars.
    """

    def __init__(self, progress: "Progress", place: Workplace, *, known: Mapping[str, list[float]], slots: int) -> None:
        self._progress, self._place, self._slots = progress, place, slots
        self._known = {method: list(seconds) for method, seconds in known.items()}
        self._rows: dict[Task, TaskID] = {}
        self._seen: dict[Path, tuple[int, int]] = {}  # results.jsonl -> its size, and the rounds in it
        self._all: TaskID | None = None

    def look(self, underway: Sequence[Task], waiting: Sequence[Cell]) -> None:
        """Show what is under way, and the time that is left."""
        if self._all is None:
            total = len(waiting) + sum(task.is_run for task in underway)
            self._all = self._progress.add_task("all runs", total=total)
        self._progress.update(self._all, description=f"all runs{self._left(underway, waiting)}")
        for task in [task for task in self._rows if task not in underway]:
            self._progress.remove_task(self._rows.pop(task))
        for task in underway:
            self._show(task)

    def ended(self, cell: Cell, record: Mapping[str, Any]) -> None:
        """Say how a run went, in a line that stays."""
        self._known.setdefault(cell.method, []).append(record["wall_seconds"])
        score = Found(cell=cell, record=record).score("macro_f1")
        self._say(f"{cell.title}: macro-F1 {score:.1f}, {record['wall_seconds']:.0f} s")
        if self._all is not None:
            self._progress.advance(self._all)

    def failed(self, what: str, reason: str, *, runs: int) -> None:
        """Say what failed, in a line that stays."""
        self._say(f"failed: {what} ({runs} run{'s' if runs > 1 else ''}): {reason}")
        if self._all is not None:
            self._progress.advance(self._all, runs)

    def _say(self, line: str) -> None:
        self._progress.console.print(line, markup=False)  # a name may hold brackets

    def _show(self, task: Task) -> None:
        if task not in self._rows:
            self._rows[task] = self._progress.add_task(task.title, total=task.cell.rounds + 1 if task.is_run else None)
            if not self._progress.console.is_terminal:  # a log has no bars
                self._say(f"begun: {task.title}")
        if task.is_run:
            self._progress.update(self._rows[task], completed=self._rounds(task.cell))

    def _rounds(self, cell: Cell) -> int:
        """Return how many rounds of a run are recorded, the warm-up included."""
        path = self._place.run(cell) / "results.jsonl"
        with contextlib.suppress(OSError, StateError, ValueError):
            size = path.stat().st_size
            if self._seen.get(path, (0, 0))[0] != size:
                rows, _ = read_journal(path)
                self._seen[path] = size, max((int(row["round"]) + 1 for row in rows), default=0)
        return self._seen.get(path, (0, 0))[1]

    def _left(self, underway: Sequence[Task], waiting: Sequence[Cell]) -> str:
        now = time.monotonic()
        seconds = seconds_left(
            [cell.method for cell in waiting],
            [(task.cell.method, now - task.began) for task in underway if task.is_run],
            known=self._known,
            slots=self._slots,
        )
        return "" if seconds is None else f", about {in_words(seconds)} left"


@contextlib.contextmanager
def shown(place: Workplace, *, known: Mapping[str, list[float]], slots: int) -> Iterator[Bars]:
    """Show bars while a comparison works.

    Args:
        place: where it works.
        known: method -> seconds of its runs that had ended before.
        slots: runs at a time.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=open_console(error=True)) as progress:
        yield Bars(progress, place, known=known, slots=slots)


def list_runs(cells: Sequence[Cell], missing: Sequence[Cell], *, slots: int) -> list[str]:
    """Return what there is to do: the numbers, and a line for each federation with what is missing on it."""
    federations = {(cell.federation, cell.noise) for cell in cells}
    methods, seeds = {cell.method for cell in cells}, {cell.seed for cell in cells}
    lines = [
        f"{len(cells)} runs ({len(methods)} methods x {len(federations)} federations x {len(seeds)} seeds): "
        f"{len(cells) - len(missing)} finished, {len(missing)} to do, {slots} at a time"
    ]
    groups: dict[str, list[str]] = {}
    for cell in missing:
        groups.setdefault(f"seed {cell.seed}, {cell.federation}, {cell.noise}", []).append(cell.method)
    return lines + [f"  {where}: {'; '.join(names)}" for where, names in groups.items()]
