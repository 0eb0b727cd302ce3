"""Whole runs with blind sums: the numbers of plain ones, whoever is missing and whatever is killed; what is refused."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes.damage import edit_json
from fakes.simulated import changes_for, new_run, numbers_of, run, site_of, tiny_bundle
from fakes.small_federation import write_federation

from mdhfl.jobs import RECIPES
from mdhfl.methods import changed
from mdhfl.methods.blind import NoSum
from mdhfl.methods.mdhfl import Mdhfl
from mdhfl.methods.mdhfl_plus import MdhflPlus
from mdhfl.reports.write import write_report
from mdhfl.rounds.experiment import Experiment
from mdhfl.rounds.loop import federate
from mdhfl.runs.folder import site_settings_path
from mdhfl.runs.inprocess import ask_in_process, open_sites, run_in_process
from mdhfl.server.results import Results
from mdhfl.server.shared_file import load_shared, shared_path
from mdhfl.sharing.knowledge import Knowledge
from mdhfl.sharing.masked import BlindTeaching, Masked
from mdhfl.sharing.messages import Answer, Request
from mdhfl.site.left import LEFT, read_left, sums_of

SITES = ("site-1", "site-2", "site-3", "site-4")
PLUS = {"views": 2, "competence_epochs": 1}


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_federation(tmp_path_factory.mktemp("four") / "fed", sites=SITES, training=12, testing=6, public=10)


def changes_of(recipe: str, **changes: Any) -> dict[str, Any]:
    return changes_for(recipe, **(PLUS if recipe == "mdhfl_plus" else {}), **changes)


def start(folder: Path, federation: Path, *, recipe: str = "mdhfl", **options: Any) -> Experiment:
    bundles, asked = (str(tiny_bundle(folder.parent / "tiny")),), {"rounds": 2, **options}
    changes = changes_of(recipe, blind=True, **asked.pop("changes", {}))
    return new_run(folder, federation, recipe=recipe, changes=changes, bundles=bundles, **asked)


def rows_of(folder: Path, experiment: Experiment) -> list[dict[str, Any]]:
    return numbers_of(Results(folder, experiment=experiment).rows())


@pytest.mark.parametrize("recipe", ["mdhfl", "fedmd", "mdhfl_geometric", "mdhfl_plus"])
def test_a_blind_run_trains_like_a_plain_one_and_shows_the_server_nothing(
    tmp_path: Path, four: Path, recipe: str
) -> None:
    bundles = (str(tiny_bundle(tmp_path / "tiny")),)
    rows, exchanges = {}, {}
    for blind in (False, True):
        changes = changes_of(recipe, blind=blind)
        rows[blind], exchanges[blind] = run(tmp_path / str(blind), four, recipe, changes=changes, bundles=bundles)
    for plain, ours in zip(rows[False], rows[True], strict=True):
        assert plain["round"] == ours["round"]
        assert ours["losses"]["train"] == pytest.approx(plain["losses"]["train"], rel=2e-4)
        if plain["round"]:
            assert ours["losses"]["align"] == pytest.approx(plain["losses"]["align"], rel=2e-3, abs=1e-6)
        assert ours["divergence"] is None  # not 0: nobody knows it
    shared = [answer.shared for _, answer in exchanges[True] if answer.shared is not None]
    assert not any(isinstance(said, Knowledge) for said in shared)
    assert {type(said).__name__ for said in shared} == {"Pledge", "Masked", "Opened"}
    lessons = [request.lesson for request, _ in exchanges[True] if request.action == "learn"]
    assert all(isinstance(lesson, BlindTeaching) for lesson in lessons)
    kept = load_shared(shared_path(tmp_path / "True", 2), number=2)
    assert all(isinstance(said, Masked) for said in kept.values())


def test_what_left_a_site_is_written_down_and_holds_no_knowledge(tmp_path: Path, four: Path) -> None:
    experiment = start(tmp_path / "run", four)
    run_in_process(tmp_path / "run", experiment=experiment)
    (path,) = (tmp_path / "run" / "sites" / "site-1").glob(f"*/{LEFT}")
    sums = {found.path: found for found in sums_of(read_left(path))}
    assert "shared.subject.public_digest" not in sums
    assert sums["shared.values"].form == "uint32 [10, 3]"
    assert sums["shared.values"].messages == 3
    up = [row["bytes"]["up"] for row in Results(tmp_path / "run", experiment=experiment).rows()]
    assert min(up) > 10 * 3 * 4  # masked numbers count, though they come after the answer


class Between:
    """An `ask` that loses the answers of some sites between two rounds."""

    def __init__(self, folder: Path, *, lost: Mapping[tuple[str, int], tuple[str, ...]]) -> None:
        self.sites = open_sites(folder, names=SITES)
        self._ask, self._lost = ask_in_process(self.sites), lost
        self.lessons: list[Any] = []

    def __call__(self, requests: Mapping[str, Request]) -> Mapping[str, Answer]:
        request = next(iter(requests.values()))
        if request.action == "learn":
            self.lessons.append(request.lesson)
        lost = self._lost.get((request.action, request.round), ())
        if request.action != "reveal":  # a site that is away is not asked at all
            requests = {site: asked for site, asked in requests.items() if site not in lost}
        return {site: answer for site, answer in self._ask(requests).items() if site not in lost}

    def close(self) -> None:
        for site in self.sites.values():
            site.close()


@pytest.mark.parametrize(
    ("lost", "sites"),
    [
        ({("warm_up", 0): ("site-2",)}, ("site-1", "site-3", "site-4")),
        ({("commit", 0): ("site-3",)}, ("site-1", "site-2", "site-4")),
        ({("reveal", 0): ("site-4",)}, SITES),
    ],
    ids=["before it pledged", "after it pledged", "after its numbers"],
)
def test_a_round_goes_on_without_a_site(
    tmp_path: Path, four: Path, lost: dict[tuple[str, int], tuple[str, ...]], sites: tuple[str, ...]
) -> None:
    experiment = replace(start(tmp_path / "run", four), min_sites=3)
    results, ask = Results(tmp_path / "run", experiment=experiment), Between(tmp_path / "run", lost=lost)
    assert results.resume() is None
    assert federate(experiment, ask=ask, record=results.record) == {}
    results.close()
    ask.close()
    assert [lesson.sites for lesson in ask.lessons if lesson is not None] == [sites, SITES]
    rows = results.rows()
    assert [row["site"] for row in rows if row["status"] != "ok"] == list(lost.get(("warm_up", 0), ()))
    assert {row["site"] for row in rows if row["round"] == 2 and row["status"] == "ok"} == set(SITES)


class Killed(KeyboardInterrupt):
    """Everything dies."""


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory, four: Path) -> list[dict[str, Any]]:
    """The numbers of a run that nobody kills."""
    folder = tmp_path_factory.mktemp("quiet") / "run"
    experiment = start(folder, four)
    run_in_process(folder, experiment=experiment)
    return rows_of(folder, experiment)


ANSWERS = 4 * (3 + 3 + 2 + 1)  # three rounds, masked numbers after each, two sums opened, the end
CHOSEN = (5, 10, 21)


@pytest.mark.parametrize(
    "number", [n if n in CHOSEN else pytest.param(n, marks=pytest.mark.slow) for n in range(ANSWERS)]
)
def test_a_run_killed_after_any_answer_goes_on_to_the_same_numbers(
    tmp_path: Path, four: Path, quiet: list[dict[str, Any]], number: int
) -> None:
    experiment = start(tmp_path / "run", four)
    answered = iter(range(number + 1))

    def die(request: Request, answer: Answer) -> None:
        assert not answer.refusal
        if next(answered) == number:
            raise Killed

    with pytest.raises(Killed):
        run_in_process(tmp_path / "run", experiment=experiment, on_answer=die)
    assert run_in_process(tmp_path / "run", experiment=experiment)["status"] == "finished"
    assert rows_of(tmp_path / "run", experiment) == quiet


def test_a_site_that_is_restarted_between_any_two_requests_says_the_same(
    tmp_path: Path, four: Path, quiet: list[dict[str, Any]]
) -> None:
    experiment = start(tmp_path / "run", four)
    results = Results(tmp_path / "run", experiment=experiment)
    results.resume()

    def ask(requests: Mapping[str, Request]) -> Mapping[str, Answer]:
        sites = open_sites(tmp_path / "run", names=SITES)
        answers = ask_in_process(sites)(requests)
        for site in sites.values():
            site.close()
        return answers

    federate(experiment, ask=ask, record=results.record)
    results.close()
    assert rows_of(tmp_path / "run", experiment) == quiet


def test_sites_side_by_side_give_the_same_numbers(tmp_path: Path, four: Path, quiet: list[dict[str, Any]]) -> None:
    experiment = start(tmp_path / "run", four)
    run_in_process(tmp_path / "run", experiment=experiment, all_cores=True)
    assert rows_of(tmp_path / "run", experiment) == quiet


def test_too_few_sites_stop_the_run_by_name_and_it_can_be_resumed(
    tmp_path: Path, four: Path, quiet: list[dict[str, Any]]
) -> None:
    experiment = start(tmp_path / "run", four)
    for site in ("site-1", "site-2"):
        edit_json(site_settings_path(tmp_path / "run", site), minimum_sites=5)
    with pytest.raises(NoSum, match=r"round 0: .* got 2 \(site-1: .*\(too_few_sites; .*site-2: .*\). Fix the sites"):
        run_in_process(tmp_path / "run", experiment=experiment)
    for site in ("site-1", "site-2"):
        edit_json(site_settings_path(tmp_path / "run", site), minimum_sites=3)
    assert run_in_process(tmp_path / "run", experiment=experiment)["status"] == "finished"
    assert rows_of(tmp_path / "run", experiment) == quiet


# what is allowed


def test_a_site_that_shares_knowledge_blindly_only_refuses_a_plain_experiment_and_the_other_way_round(
    tmp_path: Path, four: Path
) -> None:
    """At the first request, whatever it is, by the name of what its IT would have to allow."""
    for blind, allowed, wanted in (
        (False, ["blind_knowledge"], "knowledge"),
        (True, ["knowledge"], "blind_knowledge"),
        (True, [], "blind_knowledge"),
    ):
        folder = tmp_path / f"{blind}{len(allowed)}"
        experiment = new_run(folder, four, changes=changes_for("mdhfl", blind=blind))
        path = site_settings_path(folder, "site-1")
        edit_json(path, may_share=allowed)
        for action in ("open", "warm_up"):
            refusal = site_of(folder, "site-1").answer(experiment.request(action, number=0)).refusal  # type: ignore[arg-type]
            assert f'its IT adds "{wanted}" to "may_share" (method_not_allowed' in refusal


@pytest.mark.parametrize("recipe", ["rhfl", "mdhfl_attention"])
def test_a_method_that_needs_each_sites_knowledge_refuses_blind_sums_by_name(recipe: str) -> None:
    method = RECIPES[recipe].method
    with pytest.raises(ValueError, match=rf"blind: expected false with {type(method).__name__}, which needs each"):
        changed(method, {"blind": True})


def test_a_coupled_teacher_refuses_blind_sums_by_name() -> None:
    with pytest.raises(ValueError, match="blind: expected false with coupled=true, which needs each site's knowledge"):
        MdhflPlus(blind=True, coupled=True)
    assert Mdhfl(blind=True).needs() == "blind_knowledge"
    assert Mdhfl().needs() == "knowledge"


@dataclass(frozen=True, kw_only=True)
class Robust(Mdhfl):
    """A method whose server compares the sites' answers."""

    robust: str = "median"


def test_a_robust_rule_refuses_blind_sums_by_name() -> None:
    with pytest.raises(ValueError, match="blind: expected false with robust=median, which needs each site's knowledge"):
        Robust(blind=True)
    assert Robust(blind=True, robust="mean").blind
    assert Robust().needs() == "knowledge"


def test_a_site_that_withholds_its_competences_counts_half_in_every_class(tmp_path: Path, four: Path) -> None:
    """A plain server gives it the mean of the others', which nobody knows here; docs/blind.md says so."""
    experiment = start(tmp_path / "run", four, recipe="mdhfl_plus", rounds=1)
    edit_json(site_settings_path(tmp_path / "run", "site-1"), withhold=["competences"])
    sites = open_sites(tmp_path / "run", names=SITES)
    ask, lessons = ask_in_process(sites), []

    def noted(requests: Mapping[str, Request]) -> Mapping[str, Answer]:
        lessons.extend(r.lesson for r in requests.values() if r.action == "learn")
        return ask(requests)

    federate(experiment, ask=noted, record=lambda finished: None)
    site = sites["site-1"]
    assert site._work is not None
    assert site._work.progress is not None
    assert site._work.progress.answer.about is not None
    assert site._work.progress.answer.about.withheld == ("competences",)
    method, own = experiment.method, site._work.progress.answer.shared
    assert isinstance(method, MdhflPlus)
    assert isinstance(own, Knowledge)
    np.testing.assert_allclose(method.summands(own)[-1], 0.5 + 1e-3)
    np.testing.assert_allclose(method.summands(own)[:-1], (0.5 + 1e-3) * own.values, rtol=1e-6)
    assert isinstance(lessons[0], BlindTeaching)


def test_alone_in_the_lesson_nothing_is_asked_between_rounds(tmp_path: Path, four: Path) -> None:
    experiment = start(tmp_path / "run", four, recipe="mdhfl_plus", rounds=1, changes={"align_weight": 0.0})
    asked: list[str] = []
    run_in_process(tmp_path / "run", experiment=experiment, on_answer=lambda q, a: asked.append(q.action))
    assert set(asked) == {"warm_up", "learn", "finish"}


def test_the_report_says_what_a_blind_server_does_not_know(tmp_path: Path, four: Path) -> None:
    experiment = start(tmp_path / "run", four, rounds=1)
    run_in_process(tmp_path / "run", experiment=experiment)
    write_report([tmp_path / "run"], out=tmp_path / "report")
    page = (tmp_path / "report" / "report.html").read_text()
    assert "The sums were blind: the server saw no site" in page
    assert "0.000 nats" not in page
