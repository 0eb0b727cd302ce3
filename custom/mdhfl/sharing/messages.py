"""The two messages of a federation: what the server asks, what a site answers. Plain values and numpy only.

`to_wire` and `from_wire` turn them into dictionaries that any transport can carry without pickle.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mdhfl.methods.method import Lesson
from mdhfl.sharing.knowledge import Knowledge, Subject
from mdhfl.sharing.teaching import Teaching
from mdhfl.sharing.turns import Member, Turn
from mdhfl.sharing.weights import Merged, Weights

Action = Literal["warm_up", "learn", "adopt", "merge", "finish"]
LESSONS: Mapping[str, type[Lesson]] = {"teaching": Teaching, "merged": Merged, "turn": Turn}


@dataclass(frozen=True, kw_only=True)
class Request:
    """What the server asks of every site.

    Attributes:
        action: "warm_up" (round 0), "learn", "adopt" (take over the merged model, without training), "merge" (lead a
            swarm's merge) or "finish".
        experiment: the experiment's id: the key of the site's state.
        round: 0 for the warm-up, then 1, 2, ...
        method: name of the method.
        parameters: its hyper-parameters.
        seed: of the experiment; with the site's name and the round it determines every random number.
        subject: what knowledge must be about; the site refuses if its own public set or classes differ.
        version: of mdhfl at the server; the site refuses another one.
        lesson: what to learn from, if anything: the sum of all knowledge, a merged model, or who merges it.
    """

    action: Action
    experiment: str
    round: int
    method: str
    parameters: Mapping[str, Any]
    seed: int
    subject: Subject
    version: str
    lesson: Lesson | None = None

    def to_wire(self) -> dict[str, Any]:
        """Return a dictionary of plain values and numpy arrays."""
        return {**_fields(self), "subject": _subject_to_wire(self.subject), "lesson": _lesson_to_wire(self.lesson)}

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> "Request":
        """Rebuild a request. Raises KeyError or TypeError if it is not one."""
        subject = _subject_from_wire(wire["subject"])
        return cls(**{**wire, "subject": subject, "lesson": _lesson_from_wire(wire["lesson"])})


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a site answers: its knowledge, its scores and what they cost; or why it could not.

    Attributes:
        site: who.
        round: after which round.
        refusal: why there is no result; empty if all is well.
        knowledge: what it says about the public set, None if the method shares none.
        weights: its model, None unless the method shares weights.
        validation: accuracy, macro_f1, balanced_accuracy, ece on the validation part.
        confusion: (C, C) unsigned counts on the clean test part, rows the true class.
        test_ece: expected calibration error on the test part.
        losses: "train" and "align", mean over the round; align is None if nobody taught.
        seconds: by phase: "align", "train", "score", "share"; in a swarm also "merge", "encrypt", "decrypt".
        peer_bytes: "up" and "down", what it exchanged with its peers since its last answer; empty without a swarm.
        about: "bundle", "architecture", "parameters" (count), "training_images", "missing_classes", "layout".
        best: whether this is the site's best round so far on its validation part.
    """

    site: str
    round: int
    refusal: str = ""
    knowledge: Knowledge | None = None
    weights: Weights | None = None
    validation: Mapping[str, float] = field(default_factory=dict)
    confusion: NDArray[np.integer] | None = None
    test_ece: float = 0.0
    losses: Mapping[str, float | None] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    peer_bytes: Mapping[str, int] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)
    best: bool = False

    def to_wire(self) -> dict[str, Any]:
        """Return a dictionary of plain values and numpy arrays."""
        wire = _fields(self)
        if self.knowledge is not None:
            wire["knowledge"] = {
                "values": self.knowledge.values,
                "subject": _subject_to_wire(self.knowledge.subject),
                "confidence": self.knowledge.confidence,
            }
        if self.weights is not None:
            wire["weights"] = {name: getattr(self.weights, name) for name in ("values", "layout", "bundle", "images")}
        return wire

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> "Answer":
        """Rebuild an answer. Raises KeyError or TypeError if it is not one."""
        said, weights = wire["knowledge"], wire["weights"]
        signed = {"site": wire["site"], "round": wire["round"]}
        if said is not None:
            said = Knowledge(**{**said, "subject": _subject_from_wire(said["subject"])}, **signed)
        if weights is not None:
            weights = Weights(**weights, **signed)
        return cls(**{**wire, "knowledge": said, "weights": weights})


def payload_bytes(message: Request | Answer | Mapping[str, Any]) -> int:
    """Count the bytes of a message: its arrays plus everything else as compact JSON.

    The same for every engine; what FLARE adds on the wire is measured in `benchmarks/`.
    """
    arrays: list[int] = []

    def without_arrays(value: Any) -> Any:
        if isinstance(value, np.ndarray | bytes):
            arrays.append(value.nbytes if isinstance(value, np.ndarray) else len(value))
            return None
        return {k: without_arrays(v) for k, v in value.items()} if isinstance(value, dict) else value

    wire = dict(message) if isinstance(message, Mapping) else message.to_wire()
    text = json.dumps(without_arrays(wire), separators=(",", ":"))
    return sum(arrays) + len(text.encode())


def _fields(record: Any) -> dict[str, Any]:
    values = {name: getattr(record, name) for name in record.__dataclass_fields__}
    return {name: dict(value) if isinstance(value, Mapping) else value for name, value in values.items()}


def _lesson_to_wire(lesson: Lesson | None) -> dict[str, Any] | None:
    if lesson is None:
        return None
    if isinstance(lesson, Turn):
        return {"kind": "turn", **_fields(lesson), "members": {s: asdict(m) for s, m in lesson.members.items()}}
    return {"kind": "teaching" if isinstance(lesson, Teaching) else "merged", **_fields(lesson)}


def _lesson_from_wire(wire: Mapping[str, Any] | None) -> Lesson | None:
    if wire is None:
        return None
    values = {name: value for name, value in wire.items() if name != "kind"}
    if wire["kind"] == "turn":
        values["members"] = {site: Member(**member) for site, member in values["members"].items()}
    return LESSONS[wire["kind"]](**values)


def _subject_to_wire(subject: Subject) -> dict[str, Any]:
    return {**asdict(subject), "classes": list(subject.classes)}


def _subject_from_wire(wire: Mapping[str, Any]) -> Subject:
    return Subject(**{**wire, "classes": tuple(wire["classes"])})
