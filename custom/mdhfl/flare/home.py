"""Results on their way home: what a job's administrator downloads holds what the server recorded of its experiment."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mdhfl.methods import name_of
from mdhfl.rounds.experiment import Experiment
from mdhfl.runs.folder import results_in, write_record
from mdhfl.server.decisions import FILE as DECISIONS

FILES = ("experiment.json", "results.jsonl", "summary.json", DECISIONS)


def describe(results: Path, *, experiment: Experiment) -> None:
    """Write `experiment.json` beside the server's results, so that `mdhfl report` reads them as a run's.

    Raises:
        StateError: the disk does not take it.
    """
    record: Mapping[str, Any] = {
        "version": 1,
        **experiment.to_json(),
        "recipe": name_of(experiment.method),
        "engine": "flare",
        "federation": "",
    }
    write_record(results, record)


def take(results: Path, *, to: Path) -> None:
    """Copy the results into a folder that FLARE keeps with the job; what is not there yet is left out.

    Args:
        results: the server's folder of the experiment.
        to: the folder to write.

    Raises:
        OSError: the disk does not take it.
    """
    to.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        if (results / name).is_file():
            shutil.copy(results / name, to / name)


def bring(download: Path, *, to: Path) -> None:
    """Copy the results of a downloaded job into a run's folder, whose own record says more than theirs.

    Args:
        download: the job's folder.
        to: the run's.

    Raises:
        ValueError: the job holds no results.
        OSError: the disk does not take them.
    """
    found = results_in(download)
    if not (found / "summary.json").is_file():
        raise ValueError(f"{download}: expected a finished job's results in workspace/mdhfl, found none")
    for name in FILES[1:]:
        if (found / name).is_file():
            shutil.copy(found / name, to / name)
