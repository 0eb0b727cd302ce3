"""Everything that can be found before the first run: raw data, arguments, and a training step with every bundle."""

import json
import time
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from mdhfl.comparison.grid import Cell
from mdhfl.comparison.place import Workplace
from mdhfl.comparison.tasks import try_bundle
from mdhfl.comparison.workers import Executor, Job
from mdhfl.preprocessing.folder.writing import earlier_federation
from mdhfl.preprocessing.inputs import DRAWING, fixed_label_space, private_inputs, public_input, with_defaults
from mdhfl.preprocessing.raw.archive import fingerprint
from mdhfl.preprocessing.raw.limits import Limits

LOOK_PERIOD = 0.2  # seconds
ANY_CLASSES = 5  # where the classes are known only after the raw data was read


def check_all(cells: Sequence[Cell], place: Workplace, executor: Executor) -> None:
    """Check what some runs need.

    Raises:
        ValueError: all that is wrong, in a line.
    """
    problems = _data_problems(cells, place) or _bundle_problems(cells, place, executor)
    if problems:
        raise ValueError("; ".join(dict.fromkeys(problems)))


def _data_problems(cells: Sequence[Cell], place: Workplace) -> list[str]:
    problems = []
    for cell in {cell.federation_folder: cell for cell in cells}.values():
        try:
            _check_data(cell, place)
        except (ValueError, OSError) as error:
            problems.append(f"federation {cell.federation}, {cell.noise}: {error}")
    return problems


def _check_data(cell: Cell, place: Workplace) -> None:
    """Find raw data that is missing, or no longer what a federation was prepared from."""
    asked = with_defaults(cell.prepare_arguments(data=place.data, out=place.federation(cell)))
    space = fixed_label_space(asked)
    public = public_input(asked, space=space)
    inputs = [*private_inputs(asked, space=space), *([public] if public else [])]
    for one in inputs:
        if one.raw is None and one.source != DRAWING:
            raise ValueError(f"source {one.source}: give its raw data in the comparison's `prepare`, as `raw`")
    now = {one.origin: _fingerprint(one.raw, asked.limits()) for one in inputs}
    now |= {name: _fingerprint(path, asked.limits()) for name, path in asked.files().items()}
    before = (earlier_federation(asked.out) or {}).get("raw", now)
    if before != now:
        changed = ", ".join(name for name in sorted({*before, *now}) if before.get(name) != now.get(name))
        raise ValueError(
            f"raw data of {changed} is not what {asked.out} was prepared from; put it back, or give another --work"
        )


@lru_cache
def _fingerprint(path: Path | None, limits: Limits) -> str:
    return fingerprint(path, limits=limits)


def _bundle_problems(cells: Sequence[Cell], place: Workplace, executor: Executor) -> list[str]:
    """Try each bundle as each method changes it."""
    jobs: dict[str, tuple[Cell, Job]] = {}
    for cell in cells:
        asked = with_defaults(cell.prepare_arguments(data=place.data, out=place.federation(cell)))
        space = fixed_label_space(asked)
        classes = len(space.classes) if space else ANY_CLASSES
        for bundle in sorted(set(cell.bundles)):
            how = (bundle, cell.bundle_changes, classes, asked.image_size)
            if (key := json.dumps(how, sort_keys=True)) not in jobs:
                jobs[key] = cell, executor.submit(try_bundle, *how)
    while not all(job.done() for _, job in jobs.values()):
        time.sleep(LOOK_PERIOD)
    outcomes = [(cell, job.result()) for cell, job in jobs.values()]
    found = [(cell, why) for cell, one in outcomes for why in ([one.failure] if one.failure else one.value)]
    return [f"{cell.method}: {why}" for cell, why in found]
