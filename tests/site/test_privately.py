"""A site with a privacy budget: what it refuses and does not tell, and that no interruption changes its account."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fakes.simulated import new_run, site_of, tiny_bundle

from mdhfl.learning.training import Aborted
from mdhfl.rounds.experiment import Experiment
from mdhfl.runs.inprocess import run_in_process
from mdhfl.sharing.knowledge import Knowledge
from mdhfl.sharing.messages import Answer, Request
from mdhfl.sharing.reasons import Refusal
from mdhfl.sharing.teaching import weighted_sum
from mdhfl.site.border import Border
from mdhfl.site.budget import ACCOUNT, Account
from mdhfl.site.defences import Privacy, privacy_from
from mdhfl.site.round import SiteRound
from mdhfl.site.settings import read_site_settings
from mdhfl.site.site import Site
from mdhfl.site.work import Surroundings, open_site
from mdhfl.store.sealed import exists
from mdhfl.swarm.peers import NoPeers

BUDGET = {"epsilon": 5, "delta": 1e-3}
QUICK = {"warm_up_epochs": 1, "local_epochs": 1}


def begin(
    folder: Path, federation: Path, *, recipe: str = "mdhfl", rounds: int = 2, changes: Mapping[str, Any] | None = None,
    **privacy: Any,
) -> Experiment:  # fmt: skip
    return new_run(
        folder,
        federation,
        recipe=recipe,
        rounds=rounds,
        changes={**QUICK, **(changes or {})},
        bundles=(str(tiny_bundle(folder.parent / "tiny")),),
        privacy={**BUDGET, **privacy},
    )


def phases_of(folder: Path, site: str = "site-1") -> list[dict[str, Any]]:
    return list(json.loads((folder / "sites" / site / ACCOUNT).read_text())["phases"])


def let_out(site: Site, request: Request) -> Answer:
    return Border(site.settings).let_out(site.answer(request).to_wire(), request)


def taught(experiment: Experiment, answers: Mapping[str, Answer], *, number: int) -> Request:
    """The request for a round, with the sum of what some sites said."""
    shared = {site: answer.shared for site, answer in answers.items() if isinstance(answer.shared, Knowledge)}
    lesson = weighted_sum(shared, weights=dict.fromkeys(shared, 1.0))
    return experiment.request("learn", number=number, lesson=lesson)


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["mdhfl_plus", "fedmd", "rhfl", "fedavg", "fedprox", "local_plus"])
def test_methods_that_share_knowledge_logits_weights_or_nothing_work_and_spend_what_was_planned(
    tmp_path: Path, federation: Path, recipe: str
) -> None:
    changes = {"views": 1, "joint": True} if recipe == "mdhfl_plus" else {}
    experiment = begin(tmp_path / "run", federation, recipe=recipe, changes=changes)
    exchanges: list[tuple[Request, Answer]] = []
    summary = run_in_process(tmp_path / "run", experiment=experiment, on_answer=lambda q, a: exchanges.append((q, a)))
    assert summary["status"] == "finished"
    assert not any(site["refused"] for site in summary["sites"].values())
    for site in experiment.sites:
        settings = read_site_settings(tmp_path / "run" / "sites" / site / "site.json")
        assert 4.98 < Account(settings).spent() <= 5
        assert [entry["phase"] for entry in phases_of(tmp_path / "run", site)] == [
            "round 0: warm_up",
            "round 1: train",
            "round 2: train",
        ]
    for request, answer in exchanges:
        assert answer.losses.train is None
        assert answer.cost.seconds == {}
        assert not answer.best
        if answer.about is not None:
            assert answer.about.missing_classes == ()
        if isinstance(answer.shared, Knowledge):
            assert answer.shared.competences is None
            assert answer.shared.confidence in (0, 1), request
    (site_folder,) = (tmp_path / "run" / "sites" / "site-1").glob(f"{experiment.id}")
    assert exists(site_folder / "last.pt")
    assert not exists(site_folder / "best.pt")


@pytest.mark.parametrize(
    ("recipe", "changes", "said"),
    [
        ("mdhfl_plus", {"control": True}, "trains a twin"),
        ("local_plus", {"relabel_above": 0.9}, "replaces labels"),
        ("local_plus", {"early_weight": 3.0}, "remembers answers"),
        ("proxyfl", {}, "second network"),
        ("centralised", {}, "pools the images"),
        ("sl_fedl", {}, "merges among the sites"),
    ],
)
def test_a_method_that_goes_by_the_noise_is_refused_by_name(
    tmp_path: Path, federation: Path, recipe: str, changes: Mapping[str, Any], said: str
) -> None:
    with pytest.raises(Refusal, match=f"with privacy in its site.json it cannot run .*{said}"):
        begin(tmp_path / "run", federation, recipe=recipe, changes=changes)
    assert not (tmp_path / "run" / "experiment.json").exists()
    experiment = new_run(tmp_path / "other", federation, recipe=recipe, changes={**QUICK, **changes})
    site = with_budget(site_of(tmp_path / "other", "site-1"), tmp_path)
    refusal = let_out(site, experiment.request("open", number=0)).refusal
    assert 'has a defence, "privacy", that cannot be met with this method' in refusal


def with_budget(site: Site, folder: Path, **changes: Any) -> Site:
    tiny = str(tiny_bundle(folder / "tiny"))
    site.settings = replace(site.settings, **{"bundle": tiny, "privacy": privacy_from(BUDGET), **changes})
    return site


def test_batch_normalisation_is_refused_with_the_way_out_before_anything_is_trained(
    tmp_path: Path, federation: Path
) -> None:
    with pytest.raises(Refusal, match=r"bundle shufflenet_v2 does not give: BatchNorm.*such as mobilenet_v2_group"):
        new_run(tmp_path / "run", federation, privacy=BUDGET)
    assert not (tmp_path / "run" / "experiment.json").exists()
    experiment = new_run(tmp_path / "other", federation)
    site = with_budget(site_of(tmp_path / "other", "site-1"), tmp_path, bundle="shufflenet_v2")
    refusal = let_out(site, experiment.request("open", number=0)).refusal
    assert (
        "its IT gives it a bundle without batch normalisation, such as mobilenet_v2_group (private_network;" in refusal
    )
    assert not exists(site.settings.state / experiment.id / "state.pt")
    assert not (site.settings.state / ACCOUNT).exists()


def test_what_cannot_be_met_stops_a_run_and_a_site_before_training(tmp_path: Path, federation: Path) -> None:
    with pytest.raises(Refusal, match=r"it would be 0\.\d+"):
        begin(tmp_path / "run", federation, epsilon=0.001)
    with pytest.raises(ValueError, match=r"--privacy rounds=1: expected at least the 2 rounds of this run"):
        new_run(
            tmp_path / "run",
            federation,
            bundles=(str(tiny_bundle(tmp_path / "tiny")),),
            privacy={**BUDGET, "rounds": 1},
        )
    experiment = new_run(tmp_path / "other", federation)
    site = with_budget(site_of(tmp_path / "other", "site-1"), tmp_path, privacy=Privacy(epsilon=0.001, delta=1e-3))
    assert "(privacy_unmet; site.log: " in let_out(site, experiment.request("open", number=0)).refusal


def test_a_site_says_what_it_will_spend_before_it_trains(tmp_path: Path, federation: Path) -> None:
    experiment = begin(tmp_path / "run", federation)
    site = site_of(tmp_path / "run", "site-1")
    assert not let_out(site, experiment.request("open", number=0)).refusal
    line = site.start_line()
    assert "epsilon 5 at delta 0.001 for each training image" in line
    assert "spent so far 0.00, after this experiment's planned rounds" in line
    assert phases_of(tmp_path / "run") == []


def test_the_budget_ends_training_and_another_experiment_gets_none(tmp_path: Path, federation: Path) -> None:
    experiment = begin(tmp_path / "run", federation, rounds=1)
    sites = {name: site_of(tmp_path / "run", name) for name in experiment.sites}
    first = {name: let_out(site, experiment.request("warm_up", number=0)) for name, site in sites.items()}
    second = {name: let_out(site, taught(experiment, first, number=1)) for name, site in sites.items()}
    assert not any(answer.refusal for answer in second.values())
    spent = Account(sites["site-1"].settings).spent()
    third = let_out(sites["site-1"], taught(experiment, second, number=2))
    assert "it has spent its privacy budget and trains no more" in third.refusal
    assert "epsilon" not in third.refusal  # the figures stay in site.log
    assert Account(sites["site-1"].settings).spent() == spent
    other = replace(experiment, id="another-one")
    refusal = let_out(sites["site-1"], other.request("warm_up", number=0)).refusal
    assert "(budget_spent; site.log: " in refusal


def test_another_lesson_for_the_same_round_is_another_release(tmp_path: Path, federation: Path) -> None:
    """A server that asks twice with different lessons must not get the same noise twice, nor the second for nothing."""
    experiment = begin(tmp_path / "run", federation, epsilon=50)
    sites = {name: site_of(tmp_path / "run", name) for name in experiment.sites}
    first = {name: let_out(site, experiment.request("warm_up", number=0)) for name, site in sites.items()}
    site = sites["site-1"]
    once = let_out(site, taught(experiment, first, number=1))
    charged = phases_of(tmp_path / "run")
    assert not once.refusal
    repeated = let_out(site, taught(experiment, first, number=1))
    assert phases_of(tmp_path / "run") == charged
    np.testing.assert_array_equal(repeated.shared.values, once.shared.values)  # type: ignore[union-attr]
    changed = dict(first)
    values = changed["site-2"].shared.values[::-1].copy()  # type: ignore[union-attr]
    changed["site-2"] = replace(first["site-2"], shared=replace(first["site-2"].shared, values=values))  # type: ignore[type-var]
    assert not let_out(site, taught(experiment, changed, number=1)).refusal
    now = phases_of(tmp_path / "run")
    assert len(now) == len(charged) + 1
    assert len({entry["key"] for entry in now}) == len(now)


def test_an_interrupted_phase_is_done_again_with_the_same_noise_and_charged_once(
    tmp_path: Path, federation: Path
) -> None:
    """Two processes: one ends in the middle of the warm-up, the next does it again; beside them one undisturbed."""
    experiment = begin(tmp_path / "run", federation)
    request = experiment.request("warm_up", number=0)
    site, calls = site_of(tmp_path / "run", "site-1"), []

    def stop() -> bool:
        calls.append(1)
        return len(calls) > 1

    with pytest.raises(Aborted):
        site.answer(request, should_stop=stop)
    entered = phases_of(tmp_path / "run")
    assert len(entered) == 1  # before it began: never less than true
    shutil.copytree(tmp_path / "run", tmp_path / "copy")
    settings = (tmp_path / "copy" / "sites" / "site-1" / "site.json").read_text()
    moved = settings.replace(str(tmp_path / "run"), str(tmp_path / "copy"))
    (tmp_path / "copy" / "sites" / "site-1" / "site.json").write_text(moved)
    found = [site_of(tmp_path / name, "site-1").answer(request) for name in ("run", "copy")]
    assert not found[0].refusal
    np.testing.assert_array_equal(found[0].shared.values, found[1].shared.values)  # type: ignore[union-attr]
    assert phases_of(tmp_path / "run") == entered
    assert phases_of(tmp_path / "copy") == entered


def test_a_run_that_is_resumed_spends_as_much_as_one_that_is_not(tmp_path: Path, federation: Path) -> None:
    experiment = begin(tmp_path / "run", federation)

    class Interrupted(Exception):
        pass

    def stop_in_round_1(request: Request, answer: Answer) -> None:
        if request.round == 1 and answer.site == "site-2":
            raise Interrupted

    with pytest.raises(Interrupted):
        run_in_process(tmp_path / "run", experiment=experiment, on_answer=stop_in_round_1)
    assert len(phases_of(tmp_path / "run")) == 2
    run_in_process(tmp_path / "run", experiment=experiment)
    assert len(phases_of(tmp_path / "run")) == 3
    account = Account(read_site_settings(tmp_path / "run" / "sites" / "site-1" / "site.json"))
    plan = account.plan(experiment.id, images=24, batch_size=16, warm_up_epochs=1, local_epochs=1)
    assert 4.98 < account.spent() == plan.epsilon <= 5


def test_the_noise_follows_from_nothing_that_the_server_knows(tmp_path: Path, federation: Path) -> None:
    """The same seed, data, bundle and experiment: other answers."""
    said = []
    for name in ("a", "b"):
        experiment = replace(begin(tmp_path / name, federation), id="the-same")
        answer = site_of(tmp_path / name, "site-1").answer(experiment.request("warm_up", number=0))
        said.append(answer.shared.values)  # type: ignore[union-attr]
    assert not np.allclose(said[0], said[1])


def test_a_budget_can_neither_come_later_nor_go(tmp_path: Path, federation: Path) -> None:
    tiny = (str(tiny_bundle(tmp_path / "tiny")),)
    experiment = new_run(tmp_path / "run", federation, bundles=tiny, changes=QUICK)
    site = site_of(tmp_path / "run", "site-1")
    assert not let_out(site, experiment.request("warm_up", number=0)).refusal
    site.close()
    later = with_budget(site_of(tmp_path / "run", "site-1"), tmp_path)
    refusal = let_out(later, experiment.request("warm_up", number=0)).refusal
    assert "this experiment was begun with something else: privacy" in refusal
    experiment = begin(tmp_path / "other", federation)
    site = site_of(tmp_path / "other", "site-1")
    assert not let_out(site, experiment.request("warm_up", number=0)).refusal
    site.close()
    without = site_of(tmp_path / "other", "site-1")
    without.settings = replace(without.settings, privacy=None)
    assert "something else: privacy" in let_out(without, experiment.request("warm_up", number=0)).refusal


def test_labels_and_stain_enter_a_round_only_through_its_noise(tmp_path: Path, federation: Path) -> None:
    experiment = begin(tmp_path / "run", federation, recipe="mdhfl_plus", changes={"views": 1})
    settings = read_site_settings(tmp_path / "run" / "sites" / "site-1" / "site.json")
    request, method = experiment.request("warm_up", number=0), experiment.method
    opened = open_site(settings, request, method, surroundings=Surroundings(peers=NoPeers()))
    own = SiteRound(opened=opened, request=request, method=method, progress=None, open_swarm=lambda encrypted: None)  # type: ignore[arg-type, return-value]
    assert own.class_counts().tolist() == [1, 1, 1]
    prior = method.own_prior(own)
    assert prior is not None
    assert torch.allclose(prior, prior[:1].expand(3))
    assert torch.equal(own.public(views=1, asked_in=0, own_stain=True), opened.public)
    assert own.withholds("competences")
    with pytest.raises(Refusal, match="competences tell something of labels"):
        own.competences(epochs=1, loss=method.local_loss(own))


def test_a_site_without_opacus_refuses_by_name(
    tmp_path: Path, federation: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = begin(tmp_path / "run", federation)
    monkeypatch.setattr("mdhfl.extras.find_spec", lambda name: None)
    answer = let_out(site_of(tmp_path / "run", "site-1"), experiment.request("open", number=0))
    assert "its IT installs mdhfl[dp] there (privacy_extra; site.log: " in answer.refusal
