"""One run of one method on one federation: everything that decides its numbers, as one record."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from mdhfl import __version__
from mdhfl.digests import values_digest
from mdhfl.methods import Method, create, name_of, parameters_of
from mdhfl.sharing.knowledge import Knowledge, Subject
from mdhfl.sharing.messages import Action, Request
from mdhfl.sharing.records import Lesson
from mdhfl.sharing.watch import ACTING, MODES, TELL


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """What the server needs to know, and no more: no images, no architectures.

    Attributes:
        id: the key under which sites and server keep their state; a resumed experiment has the same one.
        method: with all its hyper-parameters.
        rounds: R, at least 1 (the warm-up is round 0).
        seed: of all random numbers.
        sites: the names of the sites that are asked.
        min_sites: how many must answer well for a round to count, from 1 to the number of sites.
        classes: the label space, in order.
        public_digest: of the public set.
        public_count: N, its number of images.
        federation_digest: of what is known of the federation's data, see `digest_of_federation`.
        training_images: site -> how many the federation's card gives it: the most that its model may count in a mean.
        watch: what follows where a site's knowledge stands out, one of `sharing.watch.MODES`.
    """

    id: str
    method: Method
    rounds: int
    seed: int
    sites: tuple[str, ...]
    min_sites: int
    classes: tuple[str, ...]
    public_digest: str
    public_count: int
    federation_digest: str
    training_images: Mapping[str, int]
    watch: str = TELL

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise ValueError(f"rounds: expected at least 1, got {self.rounds}")
        if not self.sites or len(set(self.sites)) != len(self.sites):
            raise ValueError(f"sites: expected different names, got {list(self.sites)}")
        if set(self.training_images) != set(self.sites):
            raise ValueError(f"training_images: expected a number for each site, got {dict(self.training_images)}")
        if self.watch not in MODES:
            raise ValueError(f"watch: expected one of {', '.join(MODES)}, got {self.watch!r}")
        if self.watch in ACTING and self.method.answer_kind() is not Knowledge:
            raise ValueError(
                f"watch: expected off or tell, got {self.watch!r}: with {self.method.title}, as it is set, the server "
                "gets no site's knowledge to look at"
            )
        if not 1 <= self.min_sites <= len(self.sites):
            raise ValueError(f"min_sites: expected 1 to {len(self.sites)} (the number of sites), got {self.min_sites}")

    @property
    def last_round(self) -> int:
        """The last round's number: where models are merged, one more round only adopts the last merged model."""
        return self.method.last_round(self.rounds)

    @property
    def subject(self) -> Subject:
        """What this experiment's knowledge is about."""
        return Subject(
            kind=self.method.knowledge_kind,
            public_digest=self.public_digest,
            public_count=self.public_count,
            classes=self.classes,
            views=self.method.question_views(),
        )

    @property
    def terms(self) -> dict[str, Any]:
        """What must stay the same when the experiment is continued, as plain values."""
        free = ("id", "rounds", "min_sites", "watch")
        return {name: value for name, value in self.to_json().items() if name not in free}

    def request(
        self, action: Action, *, number: int, lesson: Lesson | None = None, answered: Collection[str] = ()
    ) -> Request:
        """Return what to ask of a site in a round."""
        return Request(
            action=action,
            experiment=self.id,
            round=number,
            method=name_of(self.method),
            parameters=parameters_of(self.method),
            seed=self.seed,
            subject=self.subject,
            version=__version__,
            lesson=lesson,
            answered=tuple(sorted(answered)),
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain values; the method as its name and its parameters."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        method = {"method": name_of(self.method), "parameters": parameters_of(self.method)}
        lists = {"sites": list(self.sites), "classes": list(self.classes)}
        return {**values, **method, **lists, "training_images": dict(self.training_images)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any], *, trusted: Collection[str] = ()) -> "Experiment":
        """Rebuild an experiment from plain values; other keys are ignored.

        Args:
            values: as `to_json` gave them.
            trusted: modules of methods from elsewhere that may be imported, see `methods.class_of`.

        Raises:
            KeyError: a value is missing.
            ValueError: a value is out of range, or the method's module is not trusted.
        """
        known = {name: values[name] for name in cls.__dataclass_fields__ if name != "watch"}
        known["watch"] = values.get("watch", TELL)
        method = create(values["method"], values["parameters"], trusted=trusted)
        lists = {"sites": tuple(known["sites"]), "classes": tuple(known["classes"])}
        return cls(**{**known, "method": method, **lists})


def digest_of_federation(federation: Mapping[str, Any]) -> str:
    """Return 64 hexadecimal digits of what a federation.json says of classes, public set, sites and server."""
    said = ("classes", "image_size", "public", "sites", "server")
    return values_digest({name: federation.get(name) for name in said})
