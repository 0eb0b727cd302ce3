"""A site's progress as it lies on its disk: plain values and tensors, checked when they are read."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mdhfl import __version__
from mdhfl.files import check_format
from mdhfl.sharing.messages import Answer, Request
from mdhfl.sharing.packing import pack, unpack, wire_digest
from mdhfl.sharing.records import Lesson, tagged
from mdhfl.store.sealed import Damaged

FORMAT = 2  # of a site's state; version 0.1.0's had no number
ANEW = "start a new experiment under another id"
MODEL_PARTS = {"model", "optimizer", "averaged"}  # of every model's state, see `Model.state`
MORE_PARTS = {"early"}  # of some


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a site stands.

    Attributes:
        answer: what it answered last, its round included.
        models: the state of each of the site's models by name, see `Model.state`: "model", and, where the method has
            one, "twin" or "proxy".
        best_score: of its best round so far, see `best.steady_score`; -1 for none.
        recent: macro-F1 on the validation part of the last rounds, as many as `best.ROUNDS`, the latest last.
        terms: what the experiment was begun with, see `terms.py`.
        lesson: digest of what the last round's lesson was, see `lesson_digest`.
        stopped: why it trains no more; empty while it does.
    """

    answer: Answer
    models: Mapping[str, Mapping[str, Any]]
    best_score: float
    recent: tuple[float, ...]
    terms: Mapping[str, Any]
    lesson: str
    stopped: str = ""

    def to_disk(self) -> dict[str, Any]:
        """Return what torch.save takes."""
        return {
            **_written(),
            **_packed(self.answer.to_wire()),
            "models": {name: _plain(state) for name, state in self.models.items()},
            "best_score": self.best_score,
            "recent": list(self.recent),
            "terms": dict(self.terms),
            "lesson": self.lesson,
            "stopped": self.stopped,
        }

    @classmethod
    def from_disk(cls, path: Path, values: Mapping[str, Any], *, site: str | None) -> "Progress":
        """Rebuild what `to_disk` gave.

        Args:
            path: for messages.
            values: as `to_disk` gave them.
            site: whose it must be; None: anybody's.

        Raises:
            OtherFormat: another version of mdhfl wrote it.
            Damaged: it is incomplete, has NaN weights, or is another site's.
        """
        check_format(values, reads=FORMAT, what=str(path), way_out=ANEW)
        try:
            found = cls(
                answer=Answer.from_wire(_unpacked(values)),
                models=values["models"],
                best_score=float(values["best_score"]),
                recent=tuple(float(score) for score in values["recent"]),
                terms=dict(values["terms"]),
                lesson=str(values["lesson"]),
                stopped=str(values["stopped"]),
            )
            whole = "model" in found.models and all(
                set(state) - MORE_PARTS == MODEL_PARTS and _is_finite(state) for state in found.models.values()
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise Damaged(f"{path}: expected a site's progress, got {type(error).__name__}: {error}") from error
        if not whole:
            raise Damaged(f"{path}: expected finite weights, got NaN, infinity, or no model")
        if site is not None and found.answer.site != site:
            raise Damaged(f"{path}: expected the state of site {site!r}, got that of {found.answer.site!r}")
        return found


@dataclass(frozen=True, kw_only=True)
class Begun:
    """A round that a site has begun: enough to do it again from where the site stood before.

    Attributes:
        request: what was asked.
        after: the round that the site had finished before; -1 for none.
    """

    request: Request
    after: int

    def to_disk(self) -> dict[str, Any]:
        """Return what torch.save takes."""
        return {**_written(), **_packed(self.request.to_wire()), "after": self.after}

    @classmethod
    def from_disk(cls, path: Path, values: Mapping[str, Any]) -> "Begun":
        """Rebuild what `to_disk` gave. Raises OtherFormat, Damaged."""
        check_format(values, reads=FORMAT, what=str(path), way_out=ANEW)
        try:
            return cls(request=Request.from_wire(_unpacked(values)), after=int(values["after"]))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise Damaged(f"{path}: expected a request, got {type(error).__name__}: {error}") from error


def lesson_digest(lesson: Lesson | None) -> str:
    """Return 64 hexadecimal digits of a lesson, empty for none."""
    wire = tagged(lesson)
    return "" if wire is None else wire_digest(wire)


def answering(state: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the state_dict of the network that answers, of a model's state."""
    averaged: Mapping[str, Any] | None = state["averaged"]
    return averaged if averaged is not None else state["model"]


def _is_finite(state: Mapping[str, Any]) -> bool:
    values = answering(state).values()
    return all(bool(value.isfinite().all()) for value in values if value.is_floating_point())


def _written() -> dict[str, Any]:
    return {"version": FORMAT, "written_with": __version__}


def _packed(wire: Mapping[str, Any]) -> dict[str, Any]:
    text, arrays = pack(wire)
    return {"text": text, "arrays": [_tensor(array) for array in arrays]}


def _unpacked(values: Mapping[str, Any]) -> dict[str, Any]:
    return unpack(values["text"], [array.numpy() for array in values["arrays"]])


def _plain(state: Mapping[str, Any]) -> dict[str, Any]:
    return {name: None if value is None else dict(value) for name, value in state.items()}


def _tensor(values: np.ndarray) -> Any:
    import torch

    return torch.from_numpy(np.ascontiguousarray(values))
