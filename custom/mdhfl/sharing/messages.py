"""The two messages of a federation: what the server asks, what a site answers. Plain values and numpy only.

`to_wire` and `from_wire` turn them into dictionaries that any transport can carry without pickle; `from_wire` checks
every field.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from mdhfl.sharing.accounts import About, Control, Cost, Losses, Validation, square
from mdhfl.sharing.checks import LONGEST_TEXT, MessageError, choice, count, names, number, text
from mdhfl.sharing.knowledge import Subject
from mdhfl.sharing.protocol import fields_of, stamped
from mdhfl.sharing.records import Lesson, Shared, tagged, untagged

Action = Literal["open", "warm_up", "learn", "adopt", "commit", "reveal", "merge", "finish"]
LONGEST_PARAMETER, MOST_PARAMETERS = 200, 100


@dataclass(frozen=True, kw_only=True)
class Request:
    """What the server asks of a site.

    Attributes:
        action: "open" (get ready), "warm_up" (round 0), "learn", "adopt" (take over the merged model, no training),
            "commit" and "reveal" (take part in the draw of a swarm's leader), "merge" (lead its merge) or "finish".
        experiment: the experiment's id: the key of the site's state.
        round: 0 for the warm-up, then 1, 2, ...
        method: name of the method.
        parameters: all its hyper-parameters: numbers, true, false or short texts.
        seed: of the experiment; with the site's name and the round it determines every random number.
        subject: what knowledge must be about; the site refuses if its own public set or classes differ.
        version: of mdhfl at the server, for people: whether two understand each other, the protocol says.
        lesson: what to learn from, if anything: the sum of all knowledge, a merged model, or who merges it.
        answered: the sites whose answer in the last round was used; one of them that has lost that round says so.
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
    answered: tuple[str, ...] = ()

    def to_wire(self) -> dict[str, Any]:
        """Return a dictionary of plain values and numpy arrays."""
        return stamped(
            {
                **{name: getattr(self, name) for name in self.__dataclass_fields__},
                "parameters": dict(self.parameters),
                "subject": self.subject.to_wire(),
                "lesson": tagged(self.lesson),
                "answered": list(self.answered),
            }
        )

    @classmethod
    def from_wire(cls, wire: Any) -> "Request":
        """Rebuild a request. Raises MessageError, naming the field; OtherProtocol before any is read."""
        values = fields_of(wire, what="request", fields=cls.__dataclass_fields__)
        return cls(
            action=choice(values["action"], what="request's action", among=get_args(Action)),
            experiment=text(values["experiment"], what="request's experiment"),
            round=count(values["round"], what="request's round"),
            method=text(values["method"], what="request's method", longest=LONGEST_PARAMETER),
            parameters=_parameters(values["parameters"]),
            seed=count(values["seed"], what="request's seed", high=2**63 - 1),
            subject=Subject.from_wire(values["subject"]),
            version=text(values["version"], what="request's version"),
            lesson=untagged(values["lesson"], kinds=Lesson.kinds),
            answered=names(values["answered"], what="request's answered"),
        )


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a site answers: what it shares, its scores and what they cost; or why it could not.

    Attributes:
        site: who.
        round: after which round.
        refusal: why there is no result; empty if all is well.
        shared: its knowledge or model, None if the method shares nothing with the server.
        validation: scores on the validation part.
        confusion: (C, C) unsigned counts on the clean test part, rows the true class; None where the site tells less.
        test_ece: expected calibration error on the test part, with a confusion matrix.
        test: scores on the test part, from a site that tells no confusion matrix.
        losses: over the round.
        cost: seconds and bytes.
        about: the site and its network.
        best: whether this is the site's best round so far on its validation part.
        control: how the site's twin that trains alone does, None where there is none.
    """

    site: str
    round: int
    refusal: str = ""
    shared: Shared | None = None
    validation: Validation | None = None
    confusion: NDArray[np.unsignedinteger] | None = None
    test_ece: float = 0.0
    test: Validation | None = None
    losses: Losses = field(default_factory=Losses)
    cost: Cost = field(default_factory=Cost)
    about: About | None = None
    best: bool = False
    control: Control | None = None

    def refused(self, reason: str) -> "Answer":
        """Return the answer without its shares, and with a reason against it."""
        return replace(self, shared=None, refusal=reason[:LONGEST_TEXT])

    def to_wire(self) -> dict[str, Any]:
        """Return a dictionary of plain values and numpy arrays."""
        return stamped(
            {
                **{name: getattr(self, name) for name in ("site", "round", "refusal", "confusion", "test_ece", "best")},
                "shared": tagged(self.shared),
                "validation": None if self.validation is None else asdict(self.validation),
                "test": None if self.test is None else asdict(self.test),
                "losses": asdict(self.losses),
                "cost": self.cost.to_plain(),
                "about": None if self.about is None else self.about.to_plain(),
                "control": None if self.control is None else self.control.to_wire(),
            }
        )

    @classmethod
    def from_wire(cls, wire: Any) -> "Answer":
        """Rebuild an answer. Raises MessageError, naming the field; OtherProtocol before any is read."""
        values = fields_of(wire, what="answer", fields=cls.__dataclass_fields__)
        site = text(values["site"], what="answer's site")
        number_ = count(values["round"], what="answer's round", low=-1)
        if not isinstance(values["best"], bool):
            raise MessageError("answer's best: expected true or false, got something else")
        return cls(
            site=site,
            round=number_,
            refusal=text(values["refusal"], what="answer's refusal", longest=LONGEST_TEXT),
            shared=untagged(values["shared"], kinds=Shared.kinds, site=site, round=number_),
            validation=None if values["validation"] is None else Validation.from_plain(values["validation"]),
            confusion=square(values["confusion"], what="answer's confusion"),
            test_ece=number(values["test_ece"], what="answer's test_ece", low=0, high=1),
            test=None if values["test"] is None else Validation.from_plain(values["test"]),
            losses=Losses.from_plain(values["losses"]),
            cost=Cost.from_plain(values["cost"]),
            about=None if values["about"] is None else About.from_plain(values["about"]),
            best=values["best"],
            control=None if values["control"] is None else Control.from_wire(values["control"]),
        )


def _parameters(values: Any) -> dict[str, Any]:
    if not isinstance(values, Mapping) or len(values) > MOST_PARAMETERS:
        raise MessageError(f"request: expected at most {MOST_PARAMETERS} hyper-parameters by name, got something else")
    checked: dict[str, Any] = {}
    for name, value in values.items():
        what = f"request's parameter {text(name, what='a name of a parameter')}"
        plain = isinstance(value, bool) or value is None
        if isinstance(value, str):
            text(value, what=what, longest=LONGEST_PARAMETER)
        elif not plain:
            number(value, what=what)
        checked[name] = value
    return checked
