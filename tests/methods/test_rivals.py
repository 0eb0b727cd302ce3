"""Every method on real (small) federations, in one process: what it must equal, and what it must refuse."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fakes.simulated import changes_for, model_of, new_run, numbers_of, run, site_of
from fakes.small_federation import write_federation

from mdhfl.jobs import RECIPES
from mdhfl.learning.model import Model
from mdhfl.methods import Method, WeightsMethod, changed
from mdhfl.rounds.experiment import Experiment
from mdhfl.runs.folder import checkpoint_path
from mdhfl.runs.inprocess import open_sites, run_in_process
from mdhfl.server.results import Results
from mdhfl.server.trainer import ServerTrainer
from mdhfl.sharing.knowledge import Knowledge
from mdhfl.sharing.messages import Answer, Request
from mdhfl.sharing.weights import Weights
from mdhfl.site.round import SiteRound

SHARING = [name for name in RECIPES if name != "swarm_fhe" and not name.startswith(("local", "centralised"))]


@pytest.mark.slow
@pytest.mark.parametrize("recipe", SHARING)
def test_every_method_runs_and_names_what_leaves_a_site(tmp_path: Path, three_sites: Path, recipe: str) -> None:
    rows, exchanges = run(tmp_path / "run", three_sites, recipe, rounds=1)
    method = new_run(tmp_path / "other", three_sites, recipe=recipe, changes=changes_for(recipe)).method
    rounds = 1 + method.last_round(1)
    assert len(rows) == 3 * rounds
    answers = [answer for request, answer in exchanges if request.action in ("warm_up", "learn")]
    assert all(isinstance(a.shared, Knowledge) == (method.permission == "knowledge") for a in answers)
    assert all(
        isinstance(a.shared, Weights) == (method.permission == "weights" and "peer" not in str(method.shares))
        for a in answers
    )


@pytest.mark.slow
def test_fedavg_is_the_literal_mean_of_every_tensor(tmp_path: Path, three_sites: Path) -> None:
    _, exchanges = run(tmp_path / "run", three_sites, "fedavg", rounds=1)
    shared = {a.site: a.shared for q, a in exchanges if q.action == "learn" and isinstance(a.shared, Weights)}
    total = sum(w.images for w in shared.values())
    states = {}
    site = open_sites(tmp_path / "run", names=["site-1"])["site-1"]
    like = model_of(tmp_path / "run", "site-1")
    start = 0
    for name, tensor in like.items():  # entry by entry, as the vector was made
        if not tensor.is_floating_point():
            continue
        pieces = {s: w.values[start : start + tensor.numel()].astype(np.float64) for s, w in shared.items()}
        states[name] = sum(shared[s].images / total * pieces[s] for s in shared)
        start += tensor.numel()
    for name, expected in states.items():
        for site_name in shared:
            ours = model_of(tmp_path / "run", site_name)[name].numpy().reshape(-1)
            np.testing.assert_allclose(ours, expected, rtol=1e-6, atol=1e-8)
    assert site.settings.may_share == ("weights",)


def test_fedavg_with_one_site_is_local_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    federation = write_federation(tmp_path / "fed", sites=("site-1",))
    monkeypatch.setattr(Method, "initial_seed", lambda self, *, common, own: 7)
    monkeypatch.setattr(WeightsMethod, "initial_seed", lambda self, *, common, own: 7)
    alone, _ = run(tmp_path / "local", federation, "local", rounds=2)
    averaged, _ = run(tmp_path / "fedavg", federation, "fedavg", rounds=2)
    assert averaged[: len(alone)] == alone  # round for round, bit for bit
    assert averaged[-1]["test"] == alone[-1]["test"]  # and the last merge changes nothing


def test_fedprox_without_its_term_is_fedavg_and_with_it_is_not(tmp_path: Path, three_sites: Path) -> None:
    fedavg, _ = run(tmp_path / "a", three_sites, "fedavg", rounds=1)
    without, _ = run(tmp_path / "b", three_sites, "fedprox", rounds=1, changes=changes_for("x", proximal_weight=0.0))
    strong, _ = run(tmp_path / "c", three_sites, "fedprox", rounds=1, changes=changes_for("x", proximal_weight=5.0))
    assert without == fedavg
    assert [r["losses"]["train"] for r in strong] != [r["losses"]["train"] for r in fedavg]


def test_feddf_with_one_site_an_architecture_averages_nothing(
    tmp_path: Path, three_sites: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundles = ("shufflenet_v2", "resnet10", "mobilenet_v2")
    averaged = []

    def distil(self: ServerTrainer, averages: Any, *, teachers: Any, settings: Any) -> Any:
        for weights in teachers.values():
            np.testing.assert_array_equal(averages[weights.layout].values, weights.values)
        averaged.append(len(averages))
        return averages

    monkeypatch.setattr(ServerTrainer, "distil", distil)
    feddf, _ = run(tmp_path / "a", three_sites, "feddf", rounds=1, bundles=bundles)
    grouped, _ = run(
        tmp_path / "b", three_sites, "fedavg", rounds=1, changes=changes_for("x", grouped=True), bundles=bundles
    )
    assert averaged == [3, 3]
    assert feddf == grouped  # the distillation is all that there is


def test_feddf_serves_several_sites_of_one_architecture(tmp_path: Path, three_sites: Path) -> None:
    run(tmp_path / "run", three_sites, "feddf", rounds=1, bundles=("shufflenet_v2", "shufflenet_v2", "mobilenet_v2"))
    first, second = model_of(tmp_path / "run", "site-1"), model_of(tmp_path / "run", "site-2")
    for name, tensor in first.items():
        if tensor.is_floating_point():
            torch.testing.assert_close(tensor, second[name], rtol=0, atol=0)


def test_a_server_with_another_label_space_does_not_distil(tmp_path: Path, three_sites: Path) -> None:
    federation = shutil.copytree(three_sites, tmp_path / "fed")
    card = federation / "server" / "card.json"
    card.write_text(card.read_text().replace('"red"', '"violet"'))
    with pytest.raises(ValueError, match=r"server: expected classes \['blue', 'red', 'green'\], its validation part"):
        run(tmp_path / "run", federation, "feddf", rounds=1)


def test_a_site_is_sent_the_model_of_its_own_architecture_only(tmp_path: Path, three_sites: Path) -> None:
    bundles = ("shufflenet_v2", "shufflenet_v2", "mobilenet_v2")
    _, exchanges = run(
        tmp_path / "run", three_sites, "fedavg", rounds=1, changes=changes_for("x", grouped=True), bundles=bundles
    )
    sizes = {a.site: q.lesson.values.nbytes for q, a in exchanges if q.action == "learn"}  # type: ignore[union-attr]
    assert sizes["site-1"] == sizes["site-2"] != sizes["site-3"]


@pytest.mark.parametrize("recipe", ["centralised", "centralised_plus"])
def test_centralised_training_sees_all_images_and_takes_as_many_steps(
    recipe: str, tmp_path: Path, three_sites: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, exchanges = run(tmp_path / "run", three_sites, recipe, rounds=1)
    settled: list[int] = []
    monkeypatch.setattr(Model, "settle", lambda self, images: settled.append(len(images)))
    assert all(answer.shared is None for _, answer in exchanges)
    site = open_sites(tmp_path / "run", names=["site-1", "site-2", "site-3"])["site-1"]
    experiment = Results(tmp_path / "run", experiment=_experiment(tmp_path / "run")).experiment
    site.answer(experiment.request("learn", number=1))
    assert site._work is not None
    opened = site._work.opened
    assert len(opened.training.labels) == 3 * len(opened.private.training.labels)
    part = SiteRound(
        opened=opened,
        request=experiment.request("learn", number=1),
        method=experiment.method,
        progress=None,
        open_swarm=lambda encrypted: None,  # type: ignore[arg-type, return-value]
    )
    assert part.class_counts().sum() == len(opened.training.labels), "the prior is that of the pool"
    part.run()
    assert settled == [len(opened.training.labels)], "and so are the batch statistics of averaged weights"
    site.close()
    alone = site_of(tmp_path / "run", "site-1").answer(experiment.request("learn", number=1))
    assert "only --engine inprocess can run it" in alone.refusal


def _experiment(folder: Path) -> Experiment:
    from mdhfl.runs.folder import read_run

    return read_run(folder)[0]


@pytest.mark.parametrize(
    ("recipe", "bundles", "engine", "said"),
    [
        ("fedavg", ("shufflenet_v2", "resnet10"), "inprocess", "expected one architecture, got 2"),
        ("sl_fedl", ("shufflenet_v2", "resnet10"), "inprocess", "expected one architecture, got 2"),
        ("feddf", ("shufflenet_v2",), "inprocess", "prepare it with --server-validation"),
        ("centralised", ("shufflenet_v2",), "flare", "only --engine inprocess can run it"),
        ("centralised_plus", ("shufflenet_v2",), "flare", "only --engine inprocess can run it"),
        ("swarm_fhe", ("shufflenet_v2",), "inprocess", "at least 3 sites, got 2"),
    ],
)
def test_what_a_federation_cannot_give_is_said_before_anything_starts(
    tmp_path: Path, federation: Path, recipe: str, bundles: Sequence[str], engine: str, said: str
) -> None:
    with pytest.raises(ValueError, match=said) as raised:
        new_run(
            tmp_path / "run", federation, recipe=recipe, bundles=bundles, engine=engine, changes=changes_for(recipe)
        )
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "run").exists()


def test_feddf_that_averages_all_sites_refuses_two_architectures_before_anything_starts() -> None:
    averaging = changed(RECIPES["feddf"].method, {"grouped": False})
    bundles = {"site-1": "shufflenet_v2", "site-2": "resnet10"}
    with pytest.raises(ValueError, match="expected one architecture, got 2"):
        averaging.check_federation(bundles=bundles, validation=200)
    averaging.check_federation(bundles=dict.fromkeys(bundles, "resnet10"), validation=200)
    RECIPES["feddf"].method.check_federation(bundles=bundles, validation=200)


def test_a_swarm_of_one_site_is_refused(tmp_path: Path) -> None:
    federation = write_federation(tmp_path / "fed", sites=("site-1",))
    with pytest.raises(ValueError, match="a swarm expects at least 2 sites, got 1"):
        new_run(tmp_path / "run", federation, recipe="sl_fedl")


@pytest.mark.parametrize(("recipe", "wanted"), [("fedavg", "weights"), ("sl_fedl", "weights"), ("mdhfl", "knowledge")])
def test_a_site_that_forbids_it_refuses(tmp_path: Path, three_sites: Path, recipe: str, wanted: str) -> None:
    import json

    from mdhfl.runs.folder import site_settings_path

    experiment = new_run(tmp_path / "run", three_sites, recipe=recipe)
    path = site_settings_path(tmp_path / "run", "site-1")
    settings = json.loads(path.read_text())
    path.write_text(json.dumps({**settings, "may_share": ["encrypted_weights"]}))
    answer = site_of(tmp_path / "run", "site-1").answer(experiment.request("warm_up", number=0))
    assert f'its IT adds "{wanted}" to "may_share"' in answer.refusal
    del settings["may_share"]  # what a site has that never heard of it
    path.write_text(json.dumps(settings))
    answer = site_of(tmp_path / "run", "site-1").answer(experiment.request("warm_up", number=0))
    assert bool(answer.refusal) == (wanted == "weights")


def test_an_interrupted_weights_run_continues_with_the_same_numbers(tmp_path: Path, three_sites: Path) -> None:
    whole, _ = run(tmp_path / "a", three_sites, "fedavg", rounds=2)
    experiment = new_run(tmp_path / "b", three_sites, recipe="fedavg", rounds=2, changes=changes_for("fedavg"))

    def stop_in_round_2(request: Request, answer: Answer) -> None:
        if request.round == 2 and answer.site == "site-2":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_in_process(tmp_path / "b", experiment=experiment, on_answer=stop_in_round_2)
    run_in_process(tmp_path / "b", experiment=experiment)
    assert numbers_of(Results(tmp_path / "b", experiment=experiment).rows()) == whole
    assert checkpoint_path(tmp_path / "b", experiment=experiment, site="site-1", which="last").is_file()
