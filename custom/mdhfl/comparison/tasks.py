"""What a comparison lets its processes do: try a bundle, prepare a federation, run a cell. No process needs another."""

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mdhfl.comparison.grid import Cell
from mdhfl.comparison.place import RESULT, Workplace, finished
from mdhfl.files import write_json


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a task.

    Attributes:
        value: what it returned.
        failure: why it failed, in a line; empty if it did not.
    """

    value: Any = None
    failure: str = ""


def attempt(task: Callable[..., Any], *arguments: Any) -> Outcome:
    """Do a task; a failure becomes text, which any process can take."""
    try:
        return Outcome(value=task(*arguments))
    except Exception as error:  # one that fails does not stop the others
        return Outcome(failure=f"{type(error).__name__}: {error}")


def try_bundle(bundle: str, changes: Mapping[str, Any], classes: int, image_size: int) -> list[str]:
    """Take training steps with a bundle; return what is wrong with it."""
    from mdhfl.learning.bundle_check import verify_bundle

    return verify_bundle(bundle, num_classes=classes, image_size=image_size, changes=changes)


def prepare_federation(cell: Cell, bundles: Sequence[str], place: Workplace) -> None:
    """Prepare a cell's federation, unless it is there, and decode its images once for all runs on it."""
    from mdhfl.preprocessing.prepare import prepare

    folder = place.federation(cell)
    with place.alone(cell.federation_folder):
        prepare(cell.prepare_arguments(data=place.data, out=folder), workers=1)
        _decode(folder, bundles=bundles, cache=place.work / "decoded")


def _decode(federation: Path, *, bundles: Sequence[str], cache: Path) -> None:
    from mdhfl.learning.cache import ImageCache
    from mdhfl.learning.images import image_size_of, load_private_set, load_public_set
    from mdhfl.learning.model import Model
    from mdhfl.runs.folder import read_federation

    card = read_federation(federation)
    size = image_size_of(federation / "public")
    done = set()
    for name in bundles:
        model = Model.open(name, num_classes=len(card["classes"]), image_size=size)
        if model.bundle.decoding in done:
            continue
        done.add(model.bundle.decoding)
        how = model.how_to_read(cache=ImageCache(cache))
        load_public_set(federation / "public", **how)
        for site in card["sites"]:
            load_private_set(federation / "sites" / site, **how)


def run_cell(cell: Cell, place: Workplace) -> dict[str, Any]:
    """Run a cell, or what is left of it, and record its summary and what it cost; wait if another process does so."""
    import torch

    torch.set_num_threads(place.threads)
    with place.alone(cell.run_folder):
        return finished(cell, place) or _run(cell, place)


def _run(cell: Cell, place: Workplace) -> dict[str, Any]:
    from mdhfl.comparison.scores import score_on_all
    from mdhfl.learning.cache import ImageCache
    from mdhfl.runs.checks import modules_of
    from mdhfl.runs.folder import RunOptions, create_run
    from mdhfl.runs.inprocess import run_in_process
    from mdhfl.runs.resume import resume_run

    folder = place.run(cell)
    _reset_peak_memory()
    started = time.perf_counter()
    if (folder / "experiment.json").exists():
        experiment = resume_run(folder, trusted=modules_of(cell.method_used))
    else:
        options = RunOptions(
            federation=place.federation(cell),
            engine="inprocess",
            bundles=cell.bundles,
            seed=cell.seed,
            rounds=cell.rounds,
            changes=cell.changes,
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
