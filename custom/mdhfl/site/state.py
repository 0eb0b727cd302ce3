"""A site's progress on its own disk: written beside and renamed, read without pickle."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mdhfl.learning.tensors import load_tensors, save_tensors
from mdhfl.sharing.messages import Answer
from mdhfl.sharing.packing import pack, unpack


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a site stands.

    Attributes:
        answer: what it answered last, its round included.
        model: the network's state_dict.
        optimizer: the optimiser's state_dict.
        averaged: the averaged network's state_dict, None without averaging.
        best_score: macro-F1 on the validation part of its best round so far.
        stopped: why it trains no more; empty while it does.
    """

    answer: Answer
    model: Mapping[str, Any]
    optimizer: Mapping[str, Any]
    best_score: float
    averaged: Mapping[str, Any] | None = None
    stopped: str = ""

    @property
    def answering(self) -> Mapping[str, Any]:
        """The state of the network that answers."""
        return self.model if self.averaged is None else self.averaged


def save_progress(path: Path, progress: Progress) -> None:
    """Write a site's progress. Raises StateError if the disk does not take it; the old file stays."""
    answer, arrays = pack(progress.answer.to_wire())
    save_tensors(
        path,
        {
            "model": dict(progress.model),
            "optimizer": dict(progress.optimizer),
            "averaged": None if progress.averaged is None else dict(progress.averaged),
            "best_score": progress.best_score,
            "stopped": progress.stopped,
            "answer": answer,
            "arrays": [_tensor(array) for array in arrays],
        },
    )


def load_progress(path: Path) -> Progress | None:
    """Read a site's progress, None if there is none. Raises StateError if the file cannot be read."""
    if not path.exists():
        return None
    values = load_tensors(path)
    return Progress(
        answer=Answer.from_wire(unpack(values["answer"], [array.numpy() for array in values["arrays"]])),
        model=values["model"],
        optimizer=values["optimizer"],
        averaged=values["averaged"],
        best_score=values["best_score"],
        stopped=values["stopped"],
    )


def _tensor(values: np.ndarray) -> Any:
    import torch

    return torch.from_numpy(np.ascontiguousarray(values))
