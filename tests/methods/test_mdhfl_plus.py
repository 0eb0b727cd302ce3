"""MDH-FL+ as a whole: what it sends, learns and keeps, on real (small) federations."""

import json
import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from fakes.competences import knowledge_of
from fakes.simulated import new_run, numbers_of, run, site_of
from fakes.small_federation import write_federation

from mdhfl.methods.local_plus import LocalPlus
from mdhfl.methods.mdhfl_plus import MdhflPlus
from mdhfl.reports.write import write_report
from mdhfl.runs.folder import site_settings_path
from mdhfl.runs.inprocess import run_in_process
from mdhfl.server.results import Results
from mdhfl.sharing.accounts import Losses
from mdhfl.sharing.competence import ClassTeaching, class_weighted_sum
from mdhfl.sharing.knowledge import Knowledge

QUICK = {"warm_up_epochs": 1, "local_epochs": 1, "views": 2, "competence_epochs": 1}


@pytest.mark.parametrize("joint", [False, True])
def test_a_site_learns_from_the_sharpened_teacher_and_the_report_shows_it(joint: bool) -> None:
    shared = {site: knowledge_of(site, [[0.6, 0.3, 0.1]], [0.5] * 3) for site in "ab"}
    method = MdhflPlus(sharpening=0.5, joint=joint)
    expected = np.array([[0.36, 0.09, 0.01]]) / 0.46
    targets = []

    def learn(given: torch.Tensor, **_: Any) -> None:
        targets.append(given.numpy())

    request = SimpleNamespace(round=2, subject=SimpleNamespace(shape=(1, 3)))
    learner = SimpleNamespace(
        site="a",
        request=request,
        last=None,
        public=lambda **_: None,
        align=learn,
        accompany=learn,
        taught=lambda *_, **__: None,
    )
    method.learn(class_weighted_sum(shared), learner)  # type: ignore[arg-type]
    shown = method.common_teacher(shared)
    for rows in (*targets, shown):
        np.testing.assert_allclose(rows, expected, rtol=1e-5)
    assert len(targets) == 1
    unsharpened = MdhflPlus(sharpening=1.0).common_teacher(shared)
    np.testing.assert_allclose(unsharpened, [[0.6, 0.3, 0.1]], rtol=1e-5)


def scores_of(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{n: row[n] for n in ("round", "site", "losses", "validation", "test", "best")} for row in rows]


@pytest.mark.slow
def test_without_alignment_it_is_the_local_baseline_bit_for_bit(tmp_path: Path, three_sites: Path) -> None:
    local, _ = run(tmp_path / "local", three_sites, "local_plus", rounds=2, changes={"warm_up_epochs": 1})
    for joint in (False, True):
        changes = {**QUICK, "local_epochs": 2, "align_weight": 0.0, "joint": joint}
        shared, _ = run(tmp_path / f"shared-{joint}", three_sites, "mdhfl_plus", rounds=2, changes=changes)
        assert scores_of(shared) == scores_of(local)


@pytest.mark.slow
@pytest.mark.parametrize(("switch", "value", "off"), [("relabel_above", 0.4, 1.0), ("early_weight", 3.0, 0.0)])
def test_what_a_site_does_about_wrong_labels_it_also_does_alone(
    tmp_path: Path, three_sites: Path, switch: str, value: float, off: float
) -> None:
    """Baseline, shared run without alignment, and twin: the same labels, the same targets, the same falling rate."""
    rest = {"warm_up_epochs": 1, "local_epochs": 2, "cooling_from": 2, switch: value}
    plain, _ = run(tmp_path / "plain", three_sites, "local_plus", rounds=2, changes={**rest, switch: off})
    local, _ = run(tmp_path / "local", three_sites, "local_plus", rounds=2, changes=rest)
    changes = {**QUICK, **rest, "align_weight": 0.0, "control": True}
    shared, _ = run(tmp_path / "shared", three_sites, "mdhfl_plus", rounds=2, changes=changes)
    assert scores_of(shared) == scores_of(local) != scores_of(plain)
    assert [row["control"]["test"] for row in shared] == [row["test"] for row in local]


REST = {"cooling_from": 2, "relabel_above": 0.5, "ramp_rounds": 2, "early_weight": 3.0}


@pytest.mark.slow
@pytest.mark.parametrize("more", [{"joint": False}, {"joint": True}, REST], ids=["phases", "joint", "to rest"])
def test_a_restart_between_two_rounds_changes_nothing(tmp_path: Path, three_sites: Path, more: dict[str, Any]) -> None:
    """Averaged weights, competences and the last answers come back from the state."""
    changes = {**QUICK, "include_own": False, "patience": 0.5, **more}
    whole, _ = run(tmp_path / "a", three_sites, "mdhfl_plus", rounds=2, changes=changes)
    experiment = new_run(tmp_path / "b", three_sites, recipe="mdhfl_plus", rounds=2, changes=changes)

    def die(request: Any, answer: Any) -> None:
        if (request.action, request.round, answer.site) == ("learn", 2, "site-1"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_in_process(tmp_path / "b", experiment=experiment, on_answer=die)
    run_in_process(tmp_path / "b", experiment=experiment)
    assert numbers_of(Results(tmp_path / "b", experiment=experiment).rows()) == whole


def test_while_learning_comes_to_rest_the_answers_and_so_the_teacher_stay(tmp_path: Path, three_sites: Path) -> None:
    """From round 2 on, each site says its answers of round 1 again, about the views of round 1."""
    changes = {**QUICK, "cooling_from": 2}
    _, exchanges = run(tmp_path / "a", three_sites, "mdhfl_plus", rounds=3, changes=changes)
    told = {(a.site, a.round): a.shared for q, a in exchanges if isinstance(a.shared, Knowledge)}
    lessons = {q.round: q.lesson for q, _ in exchanges if isinstance(q.lesson, ClassTeaching)}
    for site in ("site-1", "site-2", "site-3"):
        assert not np.array_equal(told[site, 0].values, told[site, 1].values)
        for number in (2, 3):
            np.testing.assert_array_equal(told[site, number].values, told[site, 1].values)
            np.testing.assert_array_equal(told[site, number].competences, told[site, 1].competences)
    np.testing.assert_array_equal(lessons[3].values, lessons[2].values)
    assert not np.array_equal(lessons[2].values, lessons[1].values)


@pytest.mark.parametrize(("last_heard", "asked_again"), [(3, [4]), (4, [])], ids=["missed round 4", "was there"])
def test_a_site_that_missed_the_views_that_stay_answers_about_them_once(
    last_heard: int, asked_again: list[int]
) -> None:
    """From round 5 on all learn about the views of round 4; who answered about earlier ones says something new."""
    method, asked = MdhflPlus(cooling_from=5, competence_epochs=0), []
    told = [knowledge_of("a", [[0.6, 0.3, 0.1]], None, number=last_heard)]
    for number in (5, 6, 7):
        learner: Any = SimpleNamespace(
            site="a",
            last=SimpleNamespace(shared=told[-1]),
            request=SimpleNamespace(round=number, subject=told[-1].subject),
            public=lambda *, asked_in, **_: asked.append(asked_in),
            answers=lambda **_: torch.tensor([[0.0, 1.0, 2.0]]),
        )
        shared = method.share(learner, losses=Losses(train=None, align=None))
        assert isinstance(shared, Knowledge)
        told.append(shared)
    assert asked == asked_again
    before, *after = (each.values for each in told)
    assert np.array_equal(after[0], before) == (not asked_again)
    assert np.array_equal(after[0], after[1])
    assert np.array_equal(after[0], after[2])


def test_views_and_learning_rate_come_to_rest_together() -> None:
    method = MdhflPlus(cooling_from=7)
    assert [method.learning_rate_factor(number) for number in range(5, 10)] == [1, 1, 0.5, 0.25, 0.125]
    assert [method.asked_in(number) for number in range(5, 10)] == [5, 6, 6, 6, 6]
    assert [MdhflPlus().learning_rate_factor(number) for number in (0, 1, 99)] == [1, 1, 1]
    assert [MdhflPlus().asked_in(number) for number in (0, 1, 99)] == [0, 1, 99]


def test_the_alignments_weight_rises_evenly_to_its_own() -> None:
    method = MdhflPlus(align_weight=2.0, ramp_rounds=4)
    logits, teacher = torch.randn(5, 3), torch.randn(5, 3).softmax(1)
    whole = float(method.alignment_loss(logits, teacher))
    risen = [float(method.alignment_loss_in(number)(logits, teacher)) / whole for number in range(1, 7)]
    assert risen == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1])


def test_labels_are_replaced_from_the_first_round_on_and_never_by_default() -> None:
    assert [LocalPlus().trust(number) for number in (0, 1, 9)] == [1, 1, 1]
    assert [MdhflPlus(relabel_above=0.8).trust(number) for number in (0, 1, 9)] == [1, 0.8, 0.8]


def test_what_is_sent_is_one_matrix_and_a_number_per_class(tmp_path: Path, three_sites: Path) -> None:
    _, exchanges = run(tmp_path / "a", three_sites, "mdhfl_plus", rounds=1, changes=QUICK)
    for request, answer in exchanges:
        if request.action in ("warm_up", "learn"):
            assert isinstance(answer.shared, Knowledge)
            assert answer.shared.values.shape == (2 * 20, 3)
            assert answer.shared.competences is not None
            assert answer.shared.competences.shape == (3,)
            assert set(answer.shared.competences.tolist()) <= {round(i / 100, 2) for i in range(101)} | set(
                np.round(np.arange(101) / 100, 2).astype(np.float32).tolist()
            )


def test_a_site_may_withhold_its_competences(tmp_path: Path, three_sites: Path) -> None:
    experiment = new_run(tmp_path, three_sites, recipe="mdhfl_plus", rounds=1, changes=QUICK)
    path = site_settings_path(tmp_path, "site-2")
    path.write_text(json.dumps({**json.loads(path.read_text()), "withhold": ["competences"]}))
    told: dict[str, bool] = {}
    run_in_process(
        tmp_path,
        experiment=experiment,
        on_answer=lambda q, a: told.update({a.site: a.shared.competences is not None}) if a.shared else None,  # type: ignore[attr-defined]
    )
    assert told == {"site-1": True, "site-2": False, "site-3": True}
    page = write_report([tmp_path], out=tmp_path / "report").read_text(encoding="utf-8")
    assert page.count("withholds its competences and counts as the other sites do on average") == 1
    assert "site-2 withholds its competences" in page


@pytest.mark.parametrize(
    ("public", "changes"),
    [(2, {}), (5, {"joint": True}), (2, {"views": 1, "competence_epochs": 0}), (20, {"own_stain": False})],
)
def test_small_public_sets_and_switched_off_parts_work(tmp_path: Path, public: int, changes: dict[str, Any]) -> None:
    federation = write_federation(tmp_path / "fed", public=public, training=12)
    rows, _ = run(tmp_path / "run", federation, "mdhfl_plus", rounds=1, changes={**QUICK, **changes})
    assert all(row["status"] == "ok" for row in rows)


def test_a_site_with_one_class_and_a_class_without_a_site_work(tmp_path: Path) -> None:
    """Three classes in the federation; site-1 has labels of the first alone, and nobody has one of the last."""
    federation = write_federation(tmp_path / "fed", training=12)
    for site in ("site-1", "site-2"):
        path = federation / "sites" / site / "datalist.json"
        datalist = json.loads(path.read_text())
        for item in datalist["training"]:
            item["label"] = 0 if site == "site-1" else min(item["label"], 1)
        path.write_text(json.dumps(datalist))
    rows, exchanges = run(tmp_path / "run", federation, "mdhfl_plus", rounds=1, changes=QUICK)
    assert all(row["status"] == "ok" for row in rows)
    assert all(row["losses"]["align"] is not None for row in rows if row["round"] == 1)
    told = [answer.shared for _, answer in exchanges if isinstance(answer.shared, Knowledge)]
    assert {shared.site for shared in told} == {"site-1", "site-2"}
    for shared in told:
        assert shared.competences is not None
        assert shared.competences[2] == 0  # nobody's out-of-fold answers agree with labels that nobody has
        assert np.isfinite(shared.values).all()


def test_grey_public_images_work_with_coloured_private_ones(tmp_path: Path) -> None:
    federation = write_federation(tmp_path / "fed", training=12, grey_public=True)
    rows, exchanges = run(tmp_path / "run", federation, "mdhfl_plus", rounds=1, changes=QUICK)
    assert all(row["status"] == "ok" for row in rows)
    told = [answer.shared for _, answer in exchanges if isinstance(answer.shared, Knowledge)]
    assert len(told) >= 2
    assert all(np.isfinite(shared.values).all() for shared in told)


def test_a_bundle_without_batch_normalisation_works(tmp_path: Path, federation: Path) -> None:
    experiment = new_run(tmp_path / "run", federation, recipe="mdhfl_plus", rounds=1, changes=QUICK)
    site = site_of(tmp_path / "run", "site-1")
    first = site.answer(experiment.request("warm_up", number=0))
    assert not first.refusal
    assert site._work is not None
    network = site._work.opened.model.network
    from mdhfl.learning.normalisation import batch_statistics, statistics_kept

    plain = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.GroupNorm(2, 4))
    x = torch.randn(4, 3, 8, 8)
    with batch_statistics(plain), torch.no_grad():
        np.testing.assert_array_equal(plain(x).numpy(), plain.eval()(x).numpy())
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with statistics_kept(network.train()), torch.no_grad():
        network(torch.randn(4, 3, 32, 32))
    for name, value in network.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


def test_its_hyper_parameters_are_checked() -> None:
    with pytest.raises(ValueError, match=r"patience: expected at most 0\.99"):
        MdhflPlus(patience=1.0)
    with pytest.raises(ValueError, match="views: expected a whole number"):
        MdhflPlus(views=1.5)  # type: ignore[arg-type]
    assert replace(MdhflPlus(), joint=True).joint
    assert math.isclose(MdhflPlus().averaging, 0.99)
