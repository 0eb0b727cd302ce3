"""Where a comparison works: federations, decoded images and runs, which several comparisons may share."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mdhfl.comparison.grid import Cell
from mdhfl.files import read_json
from mdhfl.store.lock import FolderLock, InUse

RESULT = "compared.json"  # beside a finished run's summary: what it cost
PATIENCE = 2.0  # seconds between two looks whether another comparison has finished what this one needs


@dataclass(frozen=True, kw_only=True)
class Workplace:
    """Where a comparison works.

    Attributes:
        data: folder of the raw data.
        work: folder of federations, decoded images and runs; several comparisons may share it.
        threads: CPU threads of a run; with one, its numbers are those of any other engine.
        device: of the simulated sites.
    """

    data: Path
    work: Path
    threads: int
    device: str

    def federation(self, cell: Cell) -> Path:
        """Return the folder of a run's federation."""
        return self.work / "federations" / cell.federation_folder

    def run(self, cell: Cell) -> Path:
        """Return the folder of a run."""
        return self.work / "runs" / cell.run_folder

    @contextlib.contextmanager
    def alone(self, name: str) -> Iterator[None]:
        """Let no other comparison work on a federation or run of this name meanwhile; wait until none does."""
        while True:
            try:
                lock = FolderLock(self.work / "locks" / name, name="compare.lock", way_out="it is waited for")
                break
            except InUse:
                time.sleep(PATIENCE)
        with lock:
            yield


def finished(cell: Cell, place: Workplace) -> dict[str, Any] | None:
    """Return what is recorded of a finished run, None if it is not finished."""
    path = place.run(cell) / RESULT
    return read_json(path) if path.is_file() else None
