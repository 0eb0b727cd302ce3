"""Runs the cells of a comparison: as many processes as there are workers, each with one run at a time."""

import contextlib
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from multiprocessing import active_children, get_context
from pathlib import Path
from threading import current_thread, main_thread
from typing import Any

from mdhfl.comparison.grid import Cell
from mdhfl.files import read_json, write_json

OnResult = Callable[[Cell, Mapping[str, Any]], None]
RESULT = "compared.json"  # beside a finished run's summary: what it cost


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


def finished(cell: Cell, place: Workplace) -> dict[str, Any] | None:
    """Return what is recorded of a finished run, None if it is not finished."""
    path = place.run(cell) / RESULT
    return read_json(path) if path.is_file() else None


def run_all(cells: Sequence[Cell], *, place: Workplace, workers: int, on_result: OnResult) -> dict[Cell, str]:
    """Run cells, federation by federation.

    Args:
        cells: of one or more comparisons; each is run, or continued if it was interrupted.
        place: where.
        workers: processes.
        on_result: called as each run ends, with what is recorded of it.

    Returns:
        Why a run failed, for those that did: one that fails does not stop the others.
    """
    groups: dict[str, list[Cell]] = {}
    for cell in cells:
        groups.setdefault(cell.federation_folder, []).append(cell)
    ahead = iter(groups.values())
    failures: dict[Cell, str] = {}
    preparing: dict[Future[None], list[Cell]] = {}
    running: dict[Future[dict[str, Any]], Cell] = {}
    with _pool(workers, place.threads) as pool:

        def prepare_next() -> None:
            if group := next(ahead, None):
                preparing[pool.submit(_prepare, group, place)] = group

        for _ in range(workers):  # one federation a worker is prepared ahead, so that none waits for one
            prepare_next()
        while preparing or running:
            waiting: list[Future[Any]] = [*preparing, *running]
            for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                reason = _reason(future)
                if future in preparing:
                    group = preparing.pop(future)
                    prepare_next()
                    if reason:
                        failures |= dict.fromkeys(group, reason)
                    else:
                        running |= {pool.submit(_run, cell, place): cell for cell in group}
                else:
                    cell = running.pop(future)
                    if reason:
                        failures[cell] = reason
                    else:
                        on_result(cell, future.result())
    return failures


def _reason(future: "Future[Any]") -> str:
    """Return why a future failed, empty if it did not."""
    error = future.exception()
    return "" if error is None else f"{type(error).__name__}: {error}"


@contextlib.contextmanager
def _pool(workers: int, threads: int) -> Iterator[ProcessPoolExecutor]:
    """Give a pool; when this process is stopped (Ctrl-C, SIGTERM) kill the pool's: every finished round is on disk."""
    pool = ProcessPoolExecutor(
        max_workers=workers, mp_context=get_context("spawn"), initializer=_start_worker, initargs=(threads,)
    )
    with _sigterm_ends_the_program():
        try:
            yield pool
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in active_children():
                process.kill()
            raise
        pool.shutdown()


@contextlib.contextmanager
def _sigterm_ends_the_program() -> Iterator[None]:
    """Let SIGTERM raise SystemExit meanwhile; only the main thread may decide that."""
    if current_thread() is not main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _start_worker(threads: int) -> None:
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    torch.set_num_threads(threads)


def _prepare(cells: Iterable[Cell], place: Workplace) -> None:
    """Prepare the cells' federation, unless it is there, and decode its images once for all of them."""
    from mdhfl.preprocessing.prepare import prepare

    cells = list(cells)
    folder = place.federation(cells[0])
    prepare(cells[0].prepare_arguments(data=place.data, out=folder), workers=1)
    _decode(folder, bundles={bundle for cell in cells for bundle in cell.bundles}, cache=place.work / "decoded")


def _decode(federation: Path, *, bundles: Iterable[str], cache: Path) -> None:
    from mdhfl.learning.cache import ImageCache
    from mdhfl.learning.images import image_size_of, load_private_set, load_public_set
    from mdhfl.learning.model import Model
    from mdhfl.runs.folder import read_federation

    card = read_federation(federation)
    size = image_size_of(federation / "public")
    done = set()
    for name in sorted(bundles):
        model = Model.open(name, num_classes=len(card["classes"]), image_size=size)
        if model.bundle.decoding in done:
            continue
        done.add(model.bundle.decoding)
        how = model.how_to_read(cache=ImageCache(cache))
        load_public_set(federation / "public", **how)
        for site in card["sites"]:
            load_private_set(federation / "sites" / site, **how)


def _run(cell: Cell, place: Workplace) -> dict[str, Any]:
    """Run one cell, or what is left of it, and record its summary and what it cost."""
    from mdhfl.comparison.scores import score_on_all
    from mdhfl.learning.cache import ImageCache
    from mdhfl.runs.folder import RunOptions, create_run
    from mdhfl.runs.inprocess import run_in_process
    from mdhfl.runs.resume import resume_run

    folder = place.run(cell)
    _reset_peak_memory()
    started = time.perf_counter()
    if (folder / "experiment.json").exists():
        experiment = resume_run(folder)
    else:
        options = RunOptions(
            federation=place.federation(cell),
            engine="inprocess",
            bundles=cell.bundles,
            seed=cell.seed,
            rounds=cell.rounds,
            changes=cell.changes,
            min_sites=None,
            device=place.device,
            threads=place.threads,
            command="mdhfl compare",
        )
        experiment = create_run(folder, recipe=cell.recipe, options=options)
    cache = ImageCache(place.work / "decoded")
    summary = run_in_process(folder, experiment=experiment, cache=cache)
    record = {
        "summary": summary,
        "on_all": score_on_all(folder, experiment=experiment, cache=cache),
        "wall_seconds": round(time.perf_counter() - started, 3),
        "peak_memory": peak_memory(),
    }
    _forget_models(folder)
    write_json(folder / RESULT, record, indent=1)
    return record


def _forget_models(folder: Path) -> None:
    """Delete the sites' states and the server's last exchange: a grid of runs would fill the disk with them."""
    for pattern in ("sites/*/*/*.pt*", "shared/*.npz*"):
        for path in folder.glob(pattern):
            path.unlink()


def _reset_peak_memory() -> None:
    """Let the kernel measure this process's peak anew, where it can (Linux)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_memory() -> int:
    """Return this process's peak resident memory in bytes since the last reset, 0 where it cannot be told."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return 0
    found = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
    return int(found[0]) * 1024 if found else 0
