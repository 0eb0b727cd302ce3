"""Experiments of every method with three scripted sites, whose messages are honest; and a learner without a network."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from fakes.swarms import drawn

from mdhfl.jobs import RECIPES
from mdhfl.learning.training import TrainingDiverged
from mdhfl.methods import Method, changed
from mdhfl.rounds.experiment import Experiment
from mdhfl.rounds.loop import _run_round, _Server
from mdhfl.sharing.accounts import About, Control, Cost, Losses, Validation
from mdhfl.sharing.exchange import Round
from mdhfl.sharing.knowledge import Knowledge
from mdhfl.sharing.lots import Lot
from mdhfl.sharing.messages import Answer, Request
from mdhfl.sharing.records import Lesson, Shared
from mdhfl.sharing.turns import MergeTurn, Roll
from mdhfl.sharing.weights import Merged, Weights
from mdhfl.site.blinding import Blinding

SITES = ("site-1", "site-2", "site-3")
CLASSES = ("a", "b", "c")
IMAGES, PUBLIC, ENTRIES, LAYOUT = 24, 20, 50, "f" * 64
VALIDATION = Validation(accuracy=0.5, macro_f1=0.5, balanced_accuracy=0.5, ece=0.1)
CONFUSION = np.array([[3, 1, 0], [0, 4, 0], [1, 0, 3]], np.uint8)


class Averages:
    """Stands for a server that trains: what it is given is what it gives."""

    def try_out(self, weights: Weights) -> None:
        pass

    def distil(self, averages: Mapping[str, Merged], **_: Any) -> dict[str, Merged]:
        return dict(averages)


class Forgetful(Blinding):
    """A site's part in blind sums that notes nothing: each case is the first."""

    def _notes(self) -> dict[str, dict[str, str]]:
        return {"identities": {}, "opened": {}}

    def _note_opened(self, number: int, digest: str) -> None:
        pass

    def _note_identities(self, roll: Any) -> None:
        pass


@cache
def keys() -> "TemporaryDirectory[str]":
    """Return where the sites' signing keys lie, as long as this process lives."""
    return TemporaryDirectory(prefix="mdhfl-fuzz-")


def blinding(site: str) -> Blinding:
    """Return a site's part in blind sums."""
    folder = Path(keys().name) / site / "fuzz"
    return Forgetful(site=site, experiment="fuzz", folder=folder, minimum=3, partners={}, note=lambda error: None)


Spoil = Callable[[Request, Answer], Answer]


@dataclass(frozen=True)
class Script:
    """One method's experiment, and what its honest sites and server say."""

    name: str
    method: Method
    sites: tuple[str, ...] = SITES

    @property
    def is_blind(self) -> bool:
        return bool(getattr(self.method, "blind", False))

    @cached_property
    def experiment(self) -> Experiment:
        return Experiment(
            id="fuzz", method=self.method, rounds=2, seed=0, sites=self.sites, min_sites=1, classes=CLASSES,
            public_digest="ab" * 32, public_count=PUBLIC, federation_digest="cd" * 32,
            training_images=dict.fromkeys(self.sites, IMAGES),
        )  # fmt: skip

    def honest(self, site: str, request: Request) -> Answer:
        """Return what a site says to the server."""
        if request.action in ("commit", "reveal"):
            return self._blind(site, request) if self.is_blind else self._lot(site, request)
        answer = self.kept(site, request)
        shared = self.method.let_out(answer.shared, PaperLearner(self, request, site=site))  # type: ignore[arg-type]
        return replace(answer, shared=shared)

    def _blind(self, site: str, request: Request) -> Answer:
        shared = self.method.draw(PaperLearner(self, request, site=site))  # type: ignore[arg-type]
        return Answer(site=site, round=request.round, shared=shared)

    def kept(self, site: str, request: Request) -> Answer:
        """Return an answer as the site itself keeps it."""
        key = (site, request.action, request.round)
        if key not in self._said:
            self._said[key] = self._answer(site, request)
        return self._said[key]

    def _lot(self, site: str, request: Request) -> Answer:
        roll = request.lesson.roll if isinstance(request.lesson, MergeTurn) else request.lesson
        assert isinstance(roll, Roll)
        turn = drawn(number=roll.round, experiment=self.experiment.id, sites=roll.sites, roster=roll.roster)
        said: dict[str, Any] = {"commitment": turn.commitments[site]}
        if request.action == "reveal":
            said = {"nonce": turn.nonces[site]}
        return Answer(site=site, round=request.round, shared=Lot(site=site, round=request.round, **said))

    @cached_property
    def _said(self) -> dict[tuple[str, str, int], Answer]:
        return {}

    def _answer(self, site: str, request: Request) -> Answer:
        if request.action in ("merge", "finish"):
            return Answer(site=site, round=request.round)
        return Answer(
            site=site, round=request.round, shared=self._shared(site, request), validation=VALIDATION,
            confusion=CONFUSION, test_ece=0.1, losses=Losses(train=1.0, align=0.5), best=True,
            cost=Cost(seconds={"train": 1.0, "score": 0.1}, peers_up=3, peers_down=4),
            about=About(
                bundle="net", architecture="Net", parameters=10, training_images=IMAGES, missing_classes=("c",),
                layout=LAYOUT, withheld=("competences",),
            ),
            control=Control(
                validation=VALIDATION, confusion=CONFUSION, test_ece=0.1, difference=0.1, low=-0.1, high=0.2
            ),
        )  # fmt: skip

    def _shared(self, site: str, request: Request) -> Shared | None:
        random, subject = np.random.default_rng([ord(site[-1]), request.round]), request.subject
        if self.method.answers_with is Weights and request.action != "adopt":
            values = random.normal(size=ENTRIES).astype(np.float32)
            return Weights(values=values, layout=LAYOUT, bundle="net", images=IMAGES, site=site, round=request.round)
        if self.method.answers_with is not Knowledge:
            return None
        values = random.dirichlet(np.ones(len(CLASSES)), size=subject.shape[0]).astype(np.float32)
        plus = self.name.startswith("mdhfl_plus")
        competences = np.array([0.4, 0.2, 0.1], np.float32) if plus else None
        return Knowledge(
            values=values, subject=subject, site=site, round=request.round, competences=competences,
            confidence=0.5 if self.name == "rhfl" else 1.0,
        )  # fmt: skip

    def exchange(
        self, request: Request, spoilt: Answer | None = None, *, between: Spoil | None = None
    ) -> tuple[Round, dict[str, Lesson]]:
        """Let site-1 give a spoilt answer and the others honest ones; return the round and the lessons made of it.

        Args:
            request: of the round.
            spoilt: the answer to it.
            between: what becomes of its answers between two rounds.
        """

        def ask(requests: Mapping[str, Request]) -> Mapping[str, Answer]:
            self._heard.update({asked.action: asked for asked in requests.values()})
            answers = {site: self.honest(site, asked) for site, asked in requests.items()}
            if "site-1" not in answers:
                return answers
            asked = requests["site-1"]
            if asked is request:
                return {**answers, "site-1": spoilt} if spoilt is not None else answers
            return {**answers, "site-1": between(asked, answers["site-1"])} if between is not None else answers

        server = _Server(setup=self.experiment, send=ask, number=request.round, open_trainer=Averages)
        finished = _run_round(server, dict.fromkeys(self.sites, request))
        return finished, dict(self.method.teach(finished, server))

    @cached_property
    def _heard(self) -> dict[str, Request]:
        return {}

    @cached_property
    def asked(self) -> list[Request]:
        """What the server asks of an honest site, lessons included."""
        warm_up = self.experiment.request("warm_up", number=0)
        _, lessons = self.exchange(warm_up)
        requests = [warm_up, *(self._heard[action] for action in ("commit", "reveal") if self.is_blind)]
        if (lesson := lessons.get("site-2")) is not None:
            requests.append(self.experiment.request("learn", number=1, lesson=lesson))
            later = replace(lesson, round=2)
            if self.experiment.last_round > self.experiment.rounds:
                requests.append(self.experiment.request("adopt", number=3, lesson=later))
        return requests


SCRIPTS = [Script(name, recipe.method) for name, recipe in sorted(RECIPES.items()) if recipe.method.is_federated]
SCRIPTS += [
    Script(f"{name}, blind", changed(RECIPES[name].method, {"blind": True}), sites=(*SITES, "site-4"))
    for name in ("mdhfl", "fedmd", "mdhfl_plus")
]


class PaperLearner:
    """A site in a round without a network: what it is to learn from must be finite numbers of the right shape."""

    def __init__(self, script: Script, request: Request, *, site: str = "site-2") -> None:
        self.site, self.request, self.script = site, request, script
        number = request.round if request.action in ("commit", "reveal") else max(request.round - 1, 0)
        before = script.experiment.request("learn" if number else "warm_up", number=number)
        self.last = script.kept(self.site, before)
        self.learned = False

    def blinding(self) -> Blinding:
        return blinding(self.site)

    def note(self, error: Exception) -> None:
        pass

    def public(self, *, views: int, asked_in: int, own_stain: bool) -> torch.Tensor:
        return torch.zeros((1, 3, 8, 8), dtype=torch.uint8)

    def align(self, targets: torch.Tensor, *, loss: Any, epochs: int, **_: Any) -> float:
        assert targets.isfinite().all(), "a teacher that is not finite"
        assert tuple(targets.shape) == self.script.experiment.subject.shape, "a teacher of another shape"
        logits = torch.linspace(-3, 3, targets.numel()).reshape(targets.shape).requires_grad_()
        value = loss(logits, targets)
        value.backward()
        if not (value.isfinite() and logits.grad is not None and logits.grad.isfinite().all()):
            raise TrainingDiverged("the loss is not finite")
        self.learned = True
        return float(value.detach())

    def taught(self, teacher: Any, *, own: Any) -> None:
        assert np.isfinite(teacher).all()

    def accompany(self, targets: torch.Tensor, *, images: Any, loss: Any, keep_statistics: bool) -> None:
        self.align(targets, loss=loss, epochs=1)

    def adopt(self, merged: Merged) -> None:
        if merged.layout != LAYOUT or merged.values.shape != (ENTRIES,):
            raise ValueError("another network's weights")
        assert np.isfinite(merged.values).all(), "a merged model that is not finite"
        self.learned = True

    def swarm(self, *, encrypted: bool) -> Any:
        return SimpleNamespace(take=lambda turn: None)
