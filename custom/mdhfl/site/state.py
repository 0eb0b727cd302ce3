"""A site's progress on its own disk: written beside and renamed, read without pickle."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mdhfl.learning.tensors import load_tensors, save_tensors
from mdhfl.metrics import smallest_counts
from mdhfl.sharing.messages import Answer


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
        from mdhfl.learning.parameters import flatten

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


def _tensor(values: np.ndarray) -> Any:
    import torch

    return torch.from_numpy(np.ascontiguousarray(values))
