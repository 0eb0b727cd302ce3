"""Sites in blind sums without a network: real pledges, masks and notes on disk, and knowledge that is drawn."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from mdhfl.methods import KnowledgeMethod, create, name_of, parameters_of
from mdhfl.methods.blind import masked_round, opened_sum
from mdhfl.methods.mdhfl import Mdhfl
from mdhfl.sharing.exchange import Round
from mdhfl.sharing.knowledge import Knowledge, Subject
from mdhfl.sharing.messages import Action, Answer, Request
from mdhfl.sharing.records import Lesson
from mdhfl.site.blinding import Blinding

SITES = ("site-1", "site-2", "site-3", "site-4")
IMAGES, CLASSES = 7, ("a", "b", "c")
EXPERIMENT = "x"


def knowledge_of(site: str, *, method: KnowledgeMethod, number: int = 0, seed: int = 0) -> Knowledge:
    """Return a site's knowledge as its method shapes it; MDH-FL+'s with competences."""
    subject = Subject(
        kind=method.knowledge_kind,
        public_digest="ab" * 32,
        public_count=IMAGES,
        classes=CLASSES,
        views=method.question_views(),
    )
    random = np.random.default_rng([ord(site[-1]), number, seed])
    if subject.kind == "logits":
        values = random.normal(scale=20, size=subject.shape).clip(-100, 100)
    else:
        values = random.dirichlet(np.full(len(CLASSES), 0.3), size=subject.shape[0])
    competences = random.uniform(0.1, 0.9, size=len(CLASSES)).round(2).astype(np.float32)
    return Knowledge(
        values=values.astype(np.float32),
        subject=subject,
        site=site,
        round=number,
        competences=competences if method.rows_of_weights else None,
    )


@dataclass
class Blind:
    """An experiment of sites in blind sums, as the server sees them.

    Attributes:
        folder: the sites' states lie in it.
        method: blind.
        sites: their names.
        minimum: of sites in a sum.
        gone: action -> sites that do not answer it.
        spoil: changes an answer on its way.
        asked: all that was asked between rounds, by action.
        noted: what sites wrote into their logs.
    """

    folder: Path
    method: KnowledgeMethod = field(default_factory=lambda: Mdhfl(blind=True))
    sites: tuple[str, ...] = SITES
    minimum: int = 3
    gone: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    spoil: Callable[[str, str, Answer], Answer] = lambda site, action, answer: answer
    asked: list[tuple[str, Lesson]] = field(default_factory=list)
    noted: list[Exception] = field(default_factory=list)
    number: int = 0
    seed: int = 0

    experiment = EXPERIMENT

    def knowledge(self, site: str) -> Knowledge:
        return knowledge_of(site, method=self.method, number=self.number, seed=self.seed)

    def part(self, site: str, **changes: Any) -> Blinding:
        known = {"partners": {}, "minimum": self.minimum, "note": self.noted.append, **changes}
        return Blinding(site=site, experiment=EXPERIMENT, folder=self.folder / site / EXPERIMENT, **known)

    def request(self, action: Action, lesson: Lesson | None = None, *, number: int | None = None) -> Request:
        return Request(
            action=action,
            experiment=EXPERIMENT,
            round=self.number if number is None else number,
            method=name_of(self.method),
            parameters=parameters_of(self.method),
            seed=0,
            subject=self.knowledge(self.sites[0]).subject,
            version="0",
            lesson=lesson,
        )

    def learner(self, site: str, request: Request) -> Any:
        """Return what the method needs to know of a site."""
        last = Answer(site=site, round=self.number, shared=self.knowledge(site))
        part = self.part(site)
        return SimpleNamespace(site=site, request=request, last=last, blinding=lambda: part, note=self.noted.append)

    def say(self, site: str, action: Action, lesson: Lesson) -> Answer:
        """Let a site answer between two rounds, over the wire."""
        request = Request.from_wire(self.request(action, lesson).to_wire())
        method = create(request.method, request.parameters)
        try:
            shared = method.draw(self.learner(site, request))
        except ValueError as error:
            return Answer(site=site, round=self.number, refusal=str(error))
        return Answer.from_wire(Answer(site=site, round=self.number, shared=shared).to_wire())

    def ask(self, sites: Iterable[str], action: Action, lesson: Lesson) -> Mapping[str, Answer]:
        self.asked.append((action, lesson))
        there = [site for site in sites if site not in self.gone.get(action, ())]
        return {site: self.spoil(site, action, self.say(site, action, lesson)) for site in there}

    def pledged(self) -> Round:
        """Return a round whose sites have pledged."""
        request = self.request("warm_up")
        shared = {s: self.part(s).pledge(self.knowledge(s)) for s in self.sites if s not in self.gone.get("learn", ())}
        silent = {s: Answer(site=s, round=self.number, refusal="gone") for s in self.sites}
        answers = {s: Answer(site=s, round=self.number, shared=said) for s, said in shared.items()}
        requests = dict.fromkeys(self.sites, request)
        return Round(number=self.number, requests=requests, answers={**silent, **answers}, shared=shared)

    def masked(self) -> Round:
        subject = self.knowledge(self.sites[0]).subject
        return masked_round(self.pledged(), self, subject=subject, shape=self.method.summand_shape(subject))  # type: ignore[arg-type]

    def lessons(self, masked: Round) -> Mapping[str, Lesson]:
        return opened_sum(masked, self, subject=self.knowledge(self.sites[0]).subject)  # type: ignore[arg-type]

    def read(self, site: str, lesson: Lesson) -> Lesson:
        """Return what a site makes of a lesson."""
        request = Request.from_wire(self.request("learn", lesson, number=self.number + 1).to_wire())
        assert request.lesson is not None
        found = self.method.unveiled(request.lesson, self.learner(site, request))
        if found is None:
            raise self.noted[-1]
        return found

    def plain(self, sites: Iterable[str]) -> Lesson:
        """Return the lesson that a server makes which sees all knowledge: the literal code of a plain run."""
        method = replace(self.method, blind=False)
        return method.combine({site: self.knowledge(site) for site in sites}, sites=["site-1"])["site-1"]
