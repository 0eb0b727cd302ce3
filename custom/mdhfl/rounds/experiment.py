"""One run of one method on one federation: everything that decides its numbers, as one record."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from mdhfl import __version__
from mdhfl.methods import create
from mdhfl.methods.method import Method, kind_of
from mdhfl.sharing.knowledge import Kind, Subject
from mdhfl.sharing.messages import Action, Lesson, Request


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """What the server needs to know, and no more: no images, no architectures.

    Attributes:
        id: the key under which sites and server keep their state; a resumed experiment has the same one.
        method: name of the method.
        parameters: all its hyper-parameters.
        rounds: R, at least 1 (the warm-up is round 0).
        seed: of all random numbers.
        sites: the names of the sites that are asked.
        min_sites: how many must answer well for a round to count, from 1 to the number of sites.
        classes: the label space, in order.
        public_digest: of the public set.
        public_count: N, its number of images.
    """

    id: str
    method: str
    parameters: Mapping[str, Any]
    rounds: int
    seed: int
    sites: tuple[str, ...]
    min_sites: int
    classes: tuple[str, ...]
    public_digest: str
    public_count: int

    def __post_init__(self) -> None:
        create(self.method, self.parameters)
        if self.rounds < 1:
            raise ValueError(f"rounds: expected at least 1, got {self.rounds}")
        if not self.sites or len(set(self.sites)) != len(self.sites):
            raise ValueError(f"sites: expected different names, got {list(self.sites)}")
        if not 1 <= self.min_sites <= len(self.sites):
            raise ValueError(f"min_sites: expected 1 to {len(self.sites)} (the number of sites), got {self.min_sites}")

    def create_method(self) -> Method:
        """Make the method from its name and hyper-parameters."""
        return create(self.method, self.parameters)

    @property
    def last_round(self) -> int:
        """The last round's number: where models are merged, one more round only adopts the last merged model."""
        return self.rounds + (1 if self.create_method().merges else 0)

    def subject(self, kind: Kind) -> Subject:
        """Return what this experiment's knowledge is about."""
        return Subject(
            kind=kind, public_digest=self.public_digest, public_count=self.public_count, classes=self.classes
        )

    def request(self, action: Action, *, round_: int, lesson: Lesson | None = None) -> Request:
        """Return what to ask of the sites."""
        return Request(
            action=action,
            experiment=self.id,
            round=round_,
            method=self.method,
            parameters=self.parameters,
            seed=self.seed,
            subject=self.subject(kind_of(self.create_method().shares)),
            version=__version__,
            lesson=lesson,
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {**asdict(self), "sites": list(self.sites), "classes": list(self.classes)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Experiment":
        """Rebuild an experiment from plain values; other keys are ignored."""
        known = {name: values[name] for name in cls.__dataclass_fields__}
        return cls(**{**known, "sites": tuple(known["sites"]), "classes": tuple(known["classes"])})
