"""A new kind of sharing is one file: what is shared, how it is checked, taught and learned, and who must permit it."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from fakes.simulated import numbers_of, site_of

from mdhfl.methods import Method, create, name_of
from mdhfl.methods.parameters import parameter
from mdhfl.methods.parties import Learner, Server
from mdhfl.rounds.experiment import Experiment
from mdhfl.runs.folder import RunOptions, create_run
from mdhfl.runs.inprocess import run_in_process
from mdhfl.runs.recipe import Recipe
from mdhfl.server.results import Results
from mdhfl.sharing.accounts import Losses
from mdhfl.sharing.checks import MessageError, array, record
from mdhfl.sharing.exchange import Round
from mdhfl.sharing.messages import Answer, Request
from mdhfl.sharing.records import Lesson, Shared
from mdhfl.site.border import Border

# What stands from here to the next line of hyphens would be the one file.


@dataclass(frozen=True, kw_only=True)
class Votes(Shared, kind="votes"):
    """How many public images a site puts into each class: (C,) int64."""

    values: Any

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any], **known: Any) -> "Votes":
        values = record(wire, what="votes", fields=cls.sent())
        return cls(values=array(values["values"], what="votes", dtypes=(np.int64,), shape=(None,)), **known)


@dataclass(frozen=True, kw_only=True)
class Mix(Lesson, kind="mix"):
    """The share of each class among all votes: (C,) float64."""

    values: Any


@dataclass(frozen=True, kw_only=True)
class VoteMethod(Method):
    """Sites share class counts and pull their mean answer to everybody's mix of classes."""

    pull_epochs: int = parameter(1, "epochs of the pull", at_least=1)

    title: ClassVar[str] = "votes"
    shares: ClassVar[str | None] = "class counts"
    permission: ClassVar[str | None] = "votes"
    answers_with: ClassVar[type[Shared] | None] = Votes

    def training_loss(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(logits, labels)

    def check(self, answer: Answer, request: Request) -> None:
        super().check(answer, request)
        if not isinstance(answer.shared, Votes) or answer.shared.values.shape != (len(request.subject.classes),):
            raise MessageError(f"answer from site {answer.site!r}: expected a vote count per class")

    def teach(self, last: Round, server: Server) -> Mapping[str, Lesson]:
        total = sum(shared.values for shared in last.shared.values() if isinstance(shared, Votes))
        return dict.fromkeys(server.sites, Mix(values=total / total.sum(), round=last.number))

    def learn(self, lesson: Lesson, learner: Learner) -> float | None:
        if not isinstance(lesson, Mix):
            return super().learn(lesson, learner)
        rows = torch.from_numpy(lesson.values).float().expand(len(learner.answers()), -1)

        def loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
            return ((logits.softmax(dim=1).mean(dim=0) - targets[0]) ** 2).sum()

        return learner.align(rows, loss=loss, epochs=self.pull_epochs)

    def share(self, learner: Learner, *, losses: Losses) -> Shared | None:
        classes = len(learner.request.subject.classes)
        votes = np.bincount(learner.answers().argmax(dim=1).numpy(), minlength=classes)
        return Votes(values=votes.astype(np.int64), site=learner.site, round=learner.request.round)


# ----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path: Path, three_sites: Path) -> tuple[Path, Experiment]:
    options = RunOptions(federation=three_sites, bundles=("shufflenet_v2",), rounds=2)
    return tmp_path / "run", create_run(tmp_path / "run", recipe=Recipe(method=VoteMethod()), options=options)


def test_it_runs_and_is_recorded(run: tuple[Path, Experiment]) -> None:
    folder, experiment = run
    answers: list[Answer] = []
    summary = run_in_process(folder, experiment=experiment, on_answer=lambda request, answer: answers.append(answer))
    assert summary["status"] == "finished"
    assert not any(site["refused"] for site in summary["sites"].values())
    assert all(isinstance(a.shared, Votes) and a.shared.values.sum() == 20 for a in answers if a.shared is not None)
    rows = numbers_of(Results(folder, experiment=experiment).rows())
    assert all(row["losses"]["align"] is not None for row in rows if row["round"] > 0)


def test_it_resumes_from_what_was_shared(run: tuple[Path, Experiment]) -> None:
    folder, experiment = run
    run_in_process(folder, experiment=experiment)
    last = Results(folder, experiment=experiment).resume()
    assert last is not None
    assert all(isinstance(shared, Votes) for shared in last.shared.values())


def test_the_site_must_permit_it(run: tuple[Path, Experiment]) -> None:
    folder, experiment = run
    for path in folder.glob("sites/*/site.json"):
        path.write_text(path.read_text().replace('"votes"', '"knowledge"'))
    with pytest.raises(RuntimeError, match=r'its IT adds "votes" to "may_share" \(method_not_allowed'):
        run_in_process(folder, experiment=experiment)
    log = (folder / "sites" / "site-1" / "site.log").read_text()
    assert 'VoteMethod shares class counts, the site allows knowledge. To take part, its IT adds "votes"' in log


def test_the_border_holds_it_back_unless_the_method_is_for_it(run: tuple[Path, Experiment]) -> None:
    folder, experiment = run
    site, request = site_of(folder, "site-1"), experiment.request("warm_up", number=0)
    answer, border = site.answer(request), Border(site.settings)
    assert isinstance(border.let_out(answer.to_wire(), request).shared, Votes)
    assert answer.shared is not None
    pixels = replace(answer.shared, values=np.arange(500_000))  # type: ignore[call-arg]
    for wrong, asked in ((answer, replace(request, method="mdhfl")), (replace(answer, shared=pixels), request)):
        held_back = border.let_out(wrong.to_wire(), asked)
        assert held_back.shared is None
        assert held_back.refusal


def test_it_is_found_by_its_import_path_only_where_its_module_is_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    assert name_of(VoteMethod()).endswith(":VoteMethod")
    again = create(name_of(VoteMethod(pull_epochs=2)), {"warm_up_epochs": 1, "local_epochs": 1, "pull_epochs": 2})
    assert again == VoteMethod(pull_epochs=2)
    with pytest.raises(ValueError, match="module 'antigravity' is not trusted here, so it is not imported"):
        create("antigravity:Method", {})
    assert "antigravity" not in sys.modules
    with pytest.raises(ValueError, match=r"has no class 'system' derived from mdhfl\.Method"):
        create("os:system", {})
    module = ModuleType("their_method")
    monkeypatch.setitem(sys.modules, "their_method", module)
    with pytest.raises(ValueError, match="has no class 'Missing'"):
        create("their_method:Missing", {})
