"""A site's progress on its own disk: written beside and renamed, read without pickle."""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from mdhfl.messages import Answer
from mdhfl.metrics import smallest_counts


class StateError(OSError):
    """State could not be written or read; what was there before is still there."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a site stands.

    Attributes:
        answer: what it answered last, its round included.
        model: the network's state_dict.
        optimizer: the optimiser's state_dict.
        best_score: macro-F1 on the validation part of its best round so far.
        stopped: why it trains no more; empty while it does.
    """

    answer: Answer
    model: Mapping[str, Any]
    optimizer: Mapping[str, Any]
    best_score: float
    stopped: str = ""


def save_progress(path: Path, progress: Progress) -> None:
    """Write a site's progress. Raises StateError if the disk does not take it; the old file stays."""
    wire = progress.answer.to_wire()
    shared = None if wire["knowledge"] is None else wire["knowledge"].pop("values")
    if wire["weights"] is not None:
        del wire["weights"]["values"]  # they are the model's
    save_tensors(
        path,
        {
            "model": dict(progress.model),
            "optimizer": dict(progress.optimizer),
            "best_score": progress.best_score,
            "stopped": progress.stopped,
            "answer": json.dumps(wire, default=np.ndarray.tolist),
            "shared": None if shared is None else _tensor(shared),
        },
    )


def load_progress(path: Path) -> Progress | None:
    """Read a site's progress, None if there is none. Raises StateError if the file cannot be read."""
    if not path.exists():
        return None
    values = load_tensors(path)
    wire = json.loads(values["answer"])
    if wire["knowledge"] is not None:
        wire["knowledge"]["values"] = values["shared"].numpy()
    if wire["weights"] is not None:
        from mdhfl.parameters import flatten

        wire["weights"]["values"] = flatten(values["model"])
    if wire["confusion"] is not None:
        wire["confusion"] = smallest_counts(np.array(wire["confusion"]))
    return Progress(
        answer=Answer.from_wire(wire),
        model=values["model"],
        optimizer=values["optimizer"],
        best_score=values["best_score"],
        stopped=values["stopped"],
    )


def save_tensors(path: Path, values: Mapping[str, Any]) -> None:
    """Write tensors and plain values with torch.save, atomically. Raises StateError."""
    import torch

    write_atomically(path, lambda file: torch.save(dict(values), file))


def load_tensors(path: Path) -> dict[str, Any]:
    """Read what `save_tensors` wrote; a file with anything but tensors and plain values is refused.

    Raises:
        StateError: the file is damaged or holds other objects.
    """
    import torch

    try:
        return dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:
        raise StateError(
            f"{path}: cannot be read ({type(error).__name__}); restore it from a backup or delete it"
        ) from error


def write_atomically(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write a file beside its place and rename it, so that readers see the old or the new one, never a part.

    Raises:
        StateError: the disk is full or the folder is not writable; the old file stays.
    """
    beside = path.with_name(f"{path.name}.{os.getpid()}.tmp")  # another process may write the same file
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with beside.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except (OSError, RuntimeError) as error:  # torch.save reports a full disk as RuntimeError
        beside.unlink(missing_ok=True)
        raise StateError(
            f"{path}: cannot be written ({error}); what was there before is kept. Free disk space or mend the "
            "folder's permissions, then resume"
        ) from error


def _tensor(values: np.ndarray) -> Any:
    import torch

    return torch.from_numpy(np.ascontiguousarray(values))
