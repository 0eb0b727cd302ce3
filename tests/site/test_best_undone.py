"""A round that is undone leaves nothing in best.pt: the best model is of a round that counts, whatever is cut off."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fakes.damage import deleted, truncated
from fakes.simulated import new_run, site_of, tiny_bundle

from mdhfl.export.site_facts import gather_facts
from mdhfl.rounds.experiment import Experiment
from mdhfl.sharing.knowledge import Knowledge
from mdhfl.sharing.messages import Answer, Request
from mdhfl.sharing.teaching import Teaching
from mdhfl.site.folder import SiteFolder
from mdhfl.site.site import Site
from mdhfl.store.sealed import exists, previous
from mdhfl.store.tensors import load_tensors

NAME = "site-1"


class Killed(BaseException):
    """The process ends here."""


@dataclass
class Rehearsed:
    """One site, asked as a server asks; each round scores what the test says, None for a round that does not compete.

    Attributes:
        folder: of the run.
        experiment: the run's.
        score: of the round that comes next.
        shared: round -> what the site has shared.
    """

    folder: Path
    experiment: Experiment
    score: float | None = 0.5
    site: Site = field(init=False)
    shared: dict[int, Knowledge] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.site = site_of(self.folder, NAME)

    @property
    def state(self) -> Path:
        return self.folder / "sites" / NAME / self.experiment.id

    @property
    def best(self) -> dict[str, Any]:
        """What `mdhfl export-bundle` would take, the file and its copy alike."""
        one, copy = (torch.load(path, weights_only=True) for path in self.best_files)
        assert all(torch.equal(one["model"][name], copy["model"][name]) for name in one["model"])
        return dict(one)

    @property
    def best_files(self) -> tuple[Path, Path]:
        return self.state / "best.pt", previous(self.state / "best.pt")

    def warm_up(self, *, score: float | None) -> None:
        self.score = score
        self._answered(self.experiment.request("warm_up", number=0))

    def learn(self, number: int, *, sure_of: int, score: float | None) -> Answer:
        """Learn from a lesson in which another site is sure of one class."""
        self.score = score
        other = np.zeros_like(self.shared[number - 1].values)
        other[:, sure_of] = 1
        values = self.shared[number - 1].values + other
        lesson = Teaching(values=values, weights={NAME: 1.0, "site-2": 1.0}, round=number - 1)
        return self._answered(self.experiment.request("learn", number=number, lesson=lesson))

    def finish(self, number: int) -> None:
        self._answered(self.experiment.request("finish", number=number))

    def restart(self) -> None:
        self.site.close()
        self.site = site_of(self.folder, NAME)

    def _answered(self, request: Request) -> Answer:
        answer = self.site.answer(request)
        assert not answer.refusal, answer.refusal
        if isinstance(answer.shared, Knowledge):
            self.shared[request.round] = answer.shared
        return answer


@pytest.fixture
def rehearsed(tmp_path: Path, federation: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rehearsed]:
    bundles = [str(tiny_bundle(tmp_path / "tiny"))]
    one = Rehearsed(tmp_path / "run", new_run(tmp_path / "run", federation, bundles=bundles))
    for module in ("round", "keeping"):
        monkeypatch.setattr(f"mdhfl.site.{module}.steady_score", lambda scores, images: one.score)
    yield one
    one.site.close()


def of_last(one: Rehearsed) -> Any:
    """The weights of the round that the site has finished last."""
    return load_tensors(one.state / "state.pt")["models"]["model"]["model"]


def same(one: Any, other: Any) -> bool:
    return all(torch.equal(one[name], other[name]) for name in other)


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("finish", [False, True])
def test_a_finished_round_with_another_lesson_gives_the_best_model_back(
    rehearsed: Rehearsed, restart: bool, finish: bool
) -> None:
    """As if the first lesson had never come; the model card shows the scores of the model in the file."""
    one = rehearsed
    one.warm_up(score=0.5)
    weights = of_last(one)
    assert one.learn(1, sure_of=0, score=0.9).best
    assert one.best["round"] == 1
    if finish:  # the server had asked for the end, and lost its last rows
        one.finish(1)
    if restart:
        one.restart()
    assert not one.learn(1, sure_of=1, score=0.1).best
    assert one.best["round"] == 0
    assert same(one.best["model"], weights)
    facts = gather_facts(one.state, site=None, which="best")
    assert facts.round == 0
    assert same(facts.model, weights)
    assert one.learn(2, sure_of=1, score=0.7).best, "as the undone round does not count any more"
    assert one.best["round"] == 2


def test_where_there_was_no_best_before_there_is_none_again(rehearsed: Rehearsed) -> None:
    one = rehearsed
    one.warm_up(score=None)
    one.learn(1, sure_of=0, score=0.9)
    one.learn(1, sure_of=1, score=None)
    assert not any(path.exists() for path in one.best_files)
    one.learn(2, sure_of=1, score=0.2)
    assert one.best["round"] == 2


def test_a_round_that_is_done_again_may_be_the_best_again(rehearsed: Rehearsed) -> None:
    one = rehearsed
    one.warm_up(score=0.5)
    one.learn(1, sure_of=0, score=0.9)
    undone = one.best["model"]
    one.learn(1, sure_of=1, score=0.8)
    assert one.best["round"] == 1
    assert same(one.best["model"], of_last(one))
    assert not same(one.best["model"], undone)


@pytest.mark.parametrize("damage", [deleted, truncated], ids=lambda damage: damage.__name__)
def test_a_former_best_that_is_damaged_costs_itself_alone(rehearsed: Rehearsed, damage: Any) -> None:
    one = rehearsed
    one.warm_up(score=0.5)
    one.learn(1, sure_of=0, score=0.9)
    damage(one.state / "former.pt")
    one.learn(1, sure_of=1, score=0.1)
    assert not exists(one.state / "best.pt")
    one.learn(2, sure_of=1, score=0.7)
    one.finish(2)
    assert gather_facts(one.state, site=None, which="best").round == 2


WRITES = 4  # of a round that is the best: former.pt, best.pt twice, state.pt


@pytest.mark.parametrize("lesson", ["the same", "another", "none: the end"])
@pytest.mark.parametrize("written", range(WRITES + 1))
def test_a_site_that_is_killed_at_any_write_keeps_the_best_that_counts(
    rehearsed: Rehearsed, monkeypatch: pytest.MonkeyPatch, written: int, lesson: str
) -> None:
    one = rehearsed
    one.warm_up(score=0.5)
    before = one.best["model"]
    with monkeypatch.context() as patched:
        dying(patched, after=written)
        with pytest.raises(Killed):
            one.learn(1, sure_of=0, score=0.9)
    one.restart()
    if lesson == "none: the end":
        number = 1 if written == WRITES else 0
        one.finish(number)
        assert one.best["round"] == number
        return
    again = one.learn(1, sure_of=0 if lesson == "the same" else 1, score=0.9 if lesson == "the same" else 0.1)
    assert again.best == (lesson == "the same")
    assert one.best["round"] == int(again.best)
    assert same(one.best["model"], of_last(one) if again.best else before)
    one.finish(1)
    assert one.best["round"] == int(again.best)


def dying(patched: pytest.MonkeyPatch, *, after: int) -> None:
    """Let the process end after so many of the writes that end a round."""
    import mdhfl.site.folder as module

    real, left, keep = module.save_tensors, iter([*[False] * after, True]), SiteFolder.keep

    def save(path: Path, values: Any) -> None:
        if path.name != "round.pt" and next(left):
            raise Killed
        real(path, values)

    def keep_then_die(folder: SiteFolder, progress: Any) -> None:
        keep(folder, progress)
        if after == WRITES:
            raise Killed

    patched.setattr(module, "save_tensors", save)
    patched.setattr(SiteFolder, "keep", keep_then_die)
