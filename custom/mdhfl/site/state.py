"""A site's progress on its own disk: written beside and renamed, read without pickle."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
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
        models: the state of each of the site's models by name, see `Model.state`: "model", and, where the method has
            one, "twin" or "proxy".
        best_score: macro-F1 on the validation part of its best round so far.
        stopped: why it trains no more; empty while it does.
    """

    answer: Answer
    models: Mapping[str, Mapping[str, Any]]
    best_score: float
    stopped: str = ""


def save_progress(path: Path, progress: Progress) -> None:
    """Write a site's progress. Raises StateError if the disk does not take it; the old file stays."""
    answer, arrays = pack(progress.answer.to_wire())
    save_tensors(
        path,
        {
            "models": {name: _plain(state) for name, state in progress.models.items()},
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
        models=values["models"],
        best_score=values["best_score"],
        stopped=values["stopped"],
    )


def lift_stop(folder: Path) -> str:
    """Let a site that stopped by its own divergence go on from its last good state; return why it had stopped.

    Its optimisers begin anew, with what its bundle says now: their state holds the old learning rate.

    Args:
        folder: of the site's state in one experiment.

    Raises:
        ValueError: there is no state, or the site has not stopped.
        StateError: the state cannot be read or written.
    """
    progress = load_progress(folder / "state.pt")
    if progress is None:
        raise ValueError(f"{folder}: expected a site's state of one experiment (state.pt), found none")
    if not progress.stopped:
        raise ValueError(f"{folder}: the site has not stopped; it stands after round {progress.answer.round}")
    models = {name: {**state, "optimizer": None} for name, state in progress.models.items()}
    save_progress(folder / "state.pt", replace(progress, stopped="", models=models))
    return progress.stopped


def answering(state: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the state_dict of the network that answers, of a model's state."""
    averaged: Mapping[str, Any] | None = state["averaged"]
    return averaged if averaged is not None else state["model"]


def _plain(state: Mapping[str, Any]) -> dict[str, Any]:
    return {name: None if value is None else dict(value) for name, value in state.items()}


def _tensor(values: np.ndarray) -> Any:
    import torch

    return torch.from_numpy(np.ascontiguousarray(values))
