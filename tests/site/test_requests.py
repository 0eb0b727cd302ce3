"""What a server sends is checked whole at the site: a bad lesson costs a round, and never a site."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from fakes.simulated import new_run, own_bundle, set_in, site_of
from fakes.small_federation import write_federation

from mdhfl.commands.restart_site import restart_site_command
from mdhfl.methods import class_of, create, parameters_of
from mdhfl.methods.mdhfl import Mdhfl
from mdhfl.rounds.experiment import Experiment
from mdhfl.sharing.competence import ClassTeaching, class_weighted_sum
from mdhfl.sharing.knowledge import Knowledge, Subject
from mdhfl.sharing.messages import Answer, Request
from mdhfl.sharing.teaching import Teaching, leave_one_out, weighted_sum
from mdhfl.sharing.weights import Merged, Weights
from mdhfl.site.folder import lift_stop
from mdhfl.site.log import refusal_of
from mdhfl.site.requests import check_request
from mdhfl.site.site import Site

N, C = 20, 3


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> tuple[Site, Experiment, Answer, Path]:
    """A site after its warm-up, and where its state lies."""
    folder = tmp_path_factory.mktemp("taught")
    federation = write_federation(folder / "fed", training=12, testing=6, public=N)
    experiment = new_run(folder / "run", federation, changes={"warm_up_epochs": 1})
    site = site_of(folder / "run", "site-1")
    answer = site.answer(experiment.request("warm_up", number=0))
    return site, experiment, answer, folder / "run" / "sites" / "site-1" / experiment.id


def honest(answer: Answer) -> Teaching:
    assert isinstance(answer.shared, Knowledge)
    other = np.eye(C, dtype=np.float32)[np.arange(N) % C]
    return Teaching(values=answer.shared.values + other, weights={"site-1": 1.0, "site-2": 1.0}, round=0)


def changed(**changes: Any) -> Callable[[Teaching], Teaching]:
    return lambda lesson: replace(lesson, **changes)


def with_values(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Teaching], Teaching]:
    return lambda lesson: replace(lesson, values=change(lesson.values.copy()).astype(np.float32))


BAD: dict[str, Callable[[Teaching], Any]] = {
    "NaN": with_values(lambda v: v * np.nan),
    "infinite": with_values(lambda v: v / 0),
    "negative": with_values(lambda v: -v),
    "1e30": with_values(lambda v: v * 1e30),
    "another shape": with_values(lambda v: v[:-1]),
    "another number of classes": with_values(lambda v: v[:, :-1]),
    "rows of another sum": with_values(lambda v: v / 2),
    "weights of NaN": changed(weights={"site-1": float("nan"), "site-2": 1.0}),
    "a weight of 0": changed(weights={"site-1": 0.0, "site-2": 2.0}),
    "a weight of 1e300": changed(weights={"site-2": 1e300}),
    "no weights": changed(weights={}),
    "not the site's own share": with_values(lambda v: np.roll(v, 1, axis=1) * [[2, 0.5, 0.5]] * 0 + [[2, 0, 0]]),
    "another round": changed(round=3),
    "a lesson of another method": lambda lesson: Merged(values=np.ones(9, np.float32), layout="0" * 64, round=0),
}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", BAD)
def test_a_bad_lesson_is_a_refused_round_and_changes_nothing(
    name: str, taught: tuple[Site, Experiment, Answer, Path]
) -> None:
    site, experiment, first, folder = taught
    before = (folder / "state.pt").read_bytes()
    answer = site.answer(experiment.request("learn", number=1, lesson=BAD[name](honest(first))))
    assert answer.refusal
    assert (folder / "state.pt").read_bytes() == before
    with pytest.raises(ValueError, match="has not stopped; it stands after round 0"):
        lift_stop(folder)


def test_a_site_learns_from_an_honest_lesson_after_all_bad_ones(
    taught: tuple[Site, Experiment, Answer, Path],
) -> None:
    site, experiment, first, _ = taught
    answer = site.answer(experiment.request("learn", number=1, lesson=honest(first)))
    assert not answer.refusal
    assert answer.losses.align is not None


@pytest.mark.parametrize(
    "change",
    [
        {"action": "learn", "round": 0},
        {"action": "warm_up", "round": 3},
        {"action": "finish", "round": 1},
        {"method": "fedmd"},
        {"subject": {"kind": "logits"}},
        {"subject": {"views": 7}},
    ],
)
def test_a_request_that_contradicts_itself_is_refused(
    change: dict[str, Any], taught: tuple[Site, Experiment, Answer, Path]
) -> None:
    _, experiment, first, _ = taught
    request = experiment.request("learn", number=1, lesson=honest(first))
    subject = replace(request.subject, **change.get("subject", {}))
    asked = replace(request, **{**change, "subject": subject})
    method = create(asked.method, {n: v for n, v in parameters_of(Mdhfl()).items() if n in fields_of(asked)})
    with pytest.raises(ValueError, match="request: expected"):
        check_request(asked, method)


def fields_of(request: Request) -> set[str]:
    return set(class_of(request.method).__dataclass_fields__)


def class_teaching(**changes: Any) -> ClassTeaching:
    values = np.full((N, C), 0.5, np.float32)
    return replace(
        ClassTeaching(values=values, total=np.ones(C, np.float32), sites=("a", "b"), assumed=0.5, round=0), **changes
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"values": np.full((N, C), -0.5, np.float32)},
        {"values": np.full((N, C), 2, np.float32)},
        {"values": np.full((N, C), np.nan, np.float32)},
        {"values": np.full((N, C + 1), 0.5, np.float32)},
        {"total": np.zeros(C, np.float32)},
        {"total": np.full(C, 1e30, np.float32)},
        {"sites": ()},
    ],
)
def test_a_class_teaching_is_checked_whole(changes: dict[str, Any]) -> None:
    class_teaching().check(kind="probabilities", shape=(N, C))
    with pytest.raises(ValueError, match="class teaching: "):
        class_teaching(**changes).check(kind="probabilities", shape=(N, C))


@pytest.mark.parametrize("power", [0.0, 1.0, 3.0])
@pytest.mark.parametrize("sites", [1, 2, 40])
def test_every_honest_sum_passes_its_check(sites: int, power: float) -> None:
    random = np.random.default_rng(sites)
    about = Subject(kind="probabilities", public_digest="0" * 64, public_count=N, classes=("x", "y", "z"))
    shared = {
        f"s{k}": Knowledge(
            values=random.dirichlet([0.01, 0.1, 1], size=N).astype(np.float16 if k % 2 else np.float32), subject=about,
            site=f"s{k}", round=1, competences=random.uniform(0, 1, C).round(2).astype(np.float32),
        )
        for k in range(sites)
    }  # fmt: skip
    class_weighted_sum(shared, power=power).check(kind="probabilities", shape=(N, C))
    weights = {site: float(random.uniform(0.01, 5)) for site in shared}
    lesson = weighted_sum(shared, weights=weights)
    lesson.check(kind="probabilities", shape=(N, C))
    for site in shared:
        teacher = leave_one_out(lesson, own=shared[site], site=site)
        assert (teacher is None) == (sites == 1)


def fedavg_site(folder: Path, federation: Path) -> tuple[Experiment, Site, Answer]:
    experiment = new_run(folder, federation, recipe="fedavg", changes={"warm_up_epochs": 1})
    site = site_of(folder, "site-1")
    return experiment, site, site.answer(experiment.request("warm_up", number=0))


def ruin(values: np.ndarray) -> np.ndarray:
    """Return a model of the largest weights that are allowed, of random signs."""
    return np.random.default_rng(0).choice([-1e6, 1e6], size=values.shape).astype(np.float32)


def test_a_merged_model_that_ruins_a_site_costs_it_a_round_and_no_more(tmp_path: Path, federation: Path) -> None:
    experiment, site, first = fedavg_site(tmp_path / "a", federation)
    assert isinstance(first.shared, Weights)
    poison = Merged(values=ruin(first.shared.values), layout=first.shared.layout, round=0)
    refused = site.answer(experiment.request("learn", number=1, lesson=poison))
    assert "by what it was taught" in refused.refusal
    assert "last good state" in refused.refusal
    good = Merged(values=first.shared.values, layout=first.shared.layout, round=1)
    after = site.answer(experiment.request("learn", number=2, lesson=good))

    experiment, site, first = fedavg_site(tmp_path / "b", federation)
    spared = site.answer(experiment.request("learn", number=2, lesson=good))
    assert not after.refusal
    assert isinstance(after.shared, Weights)
    assert isinstance(spared.shared, Weights)
    np.testing.assert_array_equal(after.shared.values, spared.shared.values)  # as if the poison had never come
    assert after.losses == spared.losses


def test_a_model_that_ruins_a_site_in_the_last_merge_is_refused(tmp_path: Path, federation: Path) -> None:
    experiment, site, first = fedavg_site(tmp_path / "a", federation)
    assert isinstance(first.shared, Weights)
    poison = Merged(values=ruin(first.shared.values), layout=first.shared.layout, round=2)
    assert "by what it was taught" in site.answer(experiment.request("adopt", number=3, lesson=poison)).refusal


def test_a_site_that_stopped_by_itself_goes_on_when_its_it_says_so(tmp_path: Path, federation: Path) -> None:
    bundle = own_bundle(tmp_path / "bundle", ("epochs: 20", "epochs: 20"))
    changes = {"warm_up_epochs": 0, "local_epochs": 3}
    experiment = new_run(tmp_path / "a", federation, bundles=(str(bundle),), changes=changes)
    set_in(bundle, ("lr: 0.001", "lr: 1.0e+30"))
    site = site_of(tmp_path / "a", "site-1")
    assert not site.answer(experiment.request("warm_up", number=0)).refusal
    stopped = site.answer(experiment.request("learn", number=1))
    folder = tmp_path / "a" / "sites" / "site-1" / experiment.id
    assert "lets it go on with `mdhfl restart-site`" in stopped.refusal

    set_in(bundle, ("lr: 1.0e+30", "lr: 0.001"))
    again = site.answer(experiment.request("learn", number=2))
    assert again.refusal == stopped.refusal  # mended, and not yet told so
    done = CliRunner().invoke(restart_site_command, [str(folder)])
    assert done.exit_code == 0, done.output
    assert "its training diverged in round 1" in done.output
    after = site.answer(experiment.request("learn", number=2))
    assert not after.refusal
    assert after.losses.train is not None


def test_there_is_nothing_to_restart_where_no_site_is(tmp_path: Path) -> None:
    done = CliRunner().invoke(restart_site_command, [str(tmp_path)])
    assert "expected a site's state of one experiment" in str(done.exception)


def test_a_peer_waits_until_a_failure_has_been_dealt_with(
    taught: tuple[Site, Experiment, Answer, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it could find the spoilt model of a round that diverged, or open the folder that is being closed."""
    site, experiment, _, _ = taught
    request = experiment.request("learn", number=1)
    heard: list[str] = []

    def refusal_while_a_peer_asks(error: Exception, **about: Any) -> str:
        if not heard:
            heard.append("asking")
            heard.append(site.receive("site-2", {"request": request.to_wire()})["refusal"])
        return refusal_of(error, **about)

    monkeypatch.setattr("mdhfl.site.site.PEER_PATIENCE", 0.01)
    monkeypatch.setattr("mdhfl.site.site.refusal_of", refusal_while_a_peer_asks)
    assert "method" in site.answer(replace(request, method="unheard_of")).refusal
    assert "it is busy training" in heard[1]


def test_a_peers_message_is_refused_where_sites_do_not_speak(
    taught: tuple[Site, Experiment, Answer, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is opened, also where nothing is in hand."""
    site, experiment, _, _ = taught
    request = experiment.request("learn", number=1)
    for work in (site._work, None):
        monkeypatch.setattr(site, "_work", work)
        monkeypatch.setattr(site, "_restore", None)
        reply = site.receive("site-2", {"ask": "share", "request": request.to_wire()})
        assert "(peers; site.log: " in reply["refusal"]
        assert site._work is work
