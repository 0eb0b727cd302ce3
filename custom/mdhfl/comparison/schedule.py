"""In which order a comparison's federations are prepared and its runs are run, and what is under way meanwhile."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from mdhfl.comparison.grid import Cell
from mdhfl.comparison.place import Workplace
from mdhfl.comparison.tasks import Outcome, prepare_federation, run_cell
from mdhfl.comparison.workers import Executor, Job

LOOK_PERIOD = 0.5  # seconds between two looks at what is under way


@dataclass(frozen=True, kw_only=True)
class Task:
    """Something that a process does.

    Attributes:
        cell: the run; of a federation that is prepared, its first.
        is_run: whether it is a run, or the preparation of its federation.
        began: by `time.monotonic`.
    """

    cell: Cell
    is_run: bool
    began: float

    @property
    def title(self) -> str:
        """What it does, in words."""
        cell = self.cell
        return cell.title if self.is_run else f"preparing {cell.federation}, {cell.noise}, seed {cell.seed}"


class Watcher(Protocol):
    """Is told how far a comparison is."""

    def look(self, underway: Sequence[Task], waiting: Sequence[Cell]) -> None:
        """See what is done now, and which runs have not begun; called several times a minute."""

    def ended(self, cell: Cell, record: Mapping[str, Any]) -> None:
        """Take what is recorded of a run that has ended well."""

    def failed(self, what: str, reason: str, *, runs: int) -> None:
        """Take why something failed at once, and how many runs are lost with it: the others may take hours."""


@dataclass(kw_only=True)
class Schedule:
    """Runs in their order, each after its federation; at most `slots` tasks at a time.

    Attributes:
        cells: to run, each folder once.
        place: where.
        executor: does the tasks.
        slots: tasks at a time.
        failures: run -> why it failed, so far.
    """

    cells: Sequence[Cell]
    place: Workplace
    executor: Executor
    slots: int
    failures: dict[Cell, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._waiting = list(self.cells)
        self._unprepared = list(dict.fromkeys(cell.federation_folder for cell in self.cells))
        self._ready: set[str] = set()
        self._underway: dict[Task, Job] = {}

    def run(self, watcher: Watcher) -> Mapping[Cell, str]:
        """Do everything; return why a run failed, for those that did: one that fails does not stop the others."""
        self._begin()
        while self._underway:
            watcher.look(tuple(self._underway), tuple(self._waiting))
            time.sleep(LOOK_PERIOD)
            for task in [task for task, job in self._underway.items() if job.done()]:
                self._end(task, _outcome(self._underway.pop(task)), watcher)
            self._begin()
        return self.failures

    def _begin(self) -> None:
        while len(self._underway) < self.slots and (task := self._next()):
            if task.is_run:
                job = self.executor.submit(run_cell, task.cell, self.place)
            else:
                folder = task.cell.federation_folder
                here = [cell for cell in self._waiting if cell.federation_folder == folder]
                bundles = sorted({bundle for cell in here for bundle in cell.bundles})
                job = self.executor.submit(prepare_federation, task.cell, bundles, self.place)
            self._underway[task] = job

    def _next(self) -> Task | None:
        """Return the first run that can begin; where there is none, the next federation, so that none waits for one."""
        for cell in self._waiting:
            if cell.federation_folder in self._ready:
                self._waiting.remove(cell)
                return Task(cell=cell, is_run=True, began=time.monotonic())
        if not self._unprepared:
            return None
        folder = self._unprepared.pop(0)
        first = next(cell for cell in self._waiting if cell.federation_folder == folder)
        return Task(cell=first, is_run=False, began=time.monotonic())

    def _end(self, task: Task, outcome: Outcome, watcher: Watcher) -> None:
        folder = task.cell.federation_folder
        if task.is_run and outcome.failure:
            self.failures[task.cell] = outcome.failure
            watcher.failed(task.title, outcome.failure, runs=1)
        elif task.is_run:
            watcher.ended(task.cell, outcome.value)
        elif outcome.failure:
            lost = [cell for cell in self._waiting if cell.federation_folder == folder]
            self.failures |= dict.fromkeys(lost, outcome.failure)
            self._waiting = [cell for cell in self._waiting if cell not in lost]
            watcher.failed(task.title, outcome.failure, runs=len(lost))
        else:
            self._ready.add(folder)


def _outcome(job: Job) -> Outcome:
    try:
        outcome: Outcome = job.result()
    except Exception as error:  # its process was killed, or could not send what it returned
        return Outcome(failure=f"{type(error).__name__}: {error}")
    return outcome
