"""ProxyFL: two networks that learn from each other, and only the common one leaves."""

import copy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from fakes.simulated import new_run, numbers_of, run
from torch import Tensor
from torch.nn import functional as F

from mdhfl.learning.model import Model, never
from mdhfl.learning.mutual import fit_mutually
from mdhfl.methods.proxyfl import ProxyFl
from mdhfl.runs.inprocess import run_in_process
from mdhfl.server.results import Results
from mdhfl.sharing.weights import Merged, Weights
from mdhfl.site.training import LocalTraining

QUICK = {"warm_up_epochs": 1, "local_epochs": 1}
COUNTS = torch.tensor([6.0, 2.0, 0.0])


def opened(bundle: str, *, seed: int) -> Model:
    return Model.open(bundle, num_classes=3, image_size=32, seed=seed)


def test_two_steps_are_the_literal_ones() -> None:
    """Both losses written from the equations, each network with an Adam of its own, no gradient into the other."""
    method = ProxyFl(mutual_weight=0.3)
    first, second = opened("resnet10", seed=0), opened("mobilenet_v2_group", seed=1)
    literal = [copy.deepcopy(first.network).train(), copy.deepcopy(second.network).train()]
    optimizers = [torch.optim.Adam(network.parameters(), lr=1e-3, fused=True) for network in literal]
    images = torch.randint(0, 255, (32, 3, 32, 32), dtype=torch.uint8)
    labels = torch.randint(0, 2, (32,))
    learner: Any = SimpleNamespace(class_counts=lambda: COUNTS)
    transforms = copy.deepcopy(first.bundle.random_transforms)
    assert transforms is not None
    loss = fit_mutually(
        first, second, images=images, labels=labels, losses=method.proxy_losses(learner), epochs=1, seed=5,
        transforms_seed=7, should_stop=never,
    )  # fmt: skip
    transforms.set_random_state(seed=7)
    log_pi = ((COUNTS + 1) / (COUNTS.sum() + 3)).log()
    losses: list[float] = []
    torch.manual_seed(5)  # the proxy's dropout
    for batch in torch.randperm(32, generator=torch.Generator().manual_seed(5)).split(16):
        pixels = transforms.batch(images[batch]).contiguous(memory_format=torch.channels_last)
        z = [network(pixels.float() / 255 * 2 - 1) for network in literal]
        steps: list[Tensor] = []
        for own, other in ((z[0], z[1]), (z[1], z[0])):
            p, q = other.detach().softmax(1), own.log_softmax(1)
            apart = (p * (p.log() - q)).sum(1).mean()
            steps.append(0.7 * F.cross_entropy(own + log_pi, labels[batch]) + 0.3 * apart)
        for optimizer, step in zip(optimizers, steps, strict=True):
            optimizer.zero_grad()
            step.backward()
            optimizer.step()
        losses.append(float(steps[0].detach()))
    assert loss == pytest.approx(np.mean(losses), rel=1e-4)
    for ours, theirs in zip((first.network, second.network), literal, strict=True):
        for name, value in ours.state_dict().items():
            torch.testing.assert_close(value, theirs.state_dict()[name], rtol=1e-3, atol=1e-4, msg=name)


@pytest.mark.parametrize("more", [{}, {"cooling_from": 1}], ids=["", "cooling"])
def test_without_mutual_learning_a_site_is_the_local_baseline_bit_for_bit(
    tmp_path: Path, three_sites: Path, more: dict[str, Any]
) -> None:
    changes = {**QUICK, **more}
    local, _ = run(tmp_path / "local", three_sites, "local_plus", rounds=1, changes=changes)
    rows, _ = run(tmp_path / "proxy", three_sites, "proxyfl", rounds=1, changes={**changes, "mutual_weight": 0.0})
    names = ("round", "site", "losses", "validation", "test", "best")
    assert [{n: row[n] for n in names} for row in rows] == [{n: row[n] for n in names} for row in local]


def test_the_learning_rates_of_both_networks_fall_and_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = opened("resnet10", seed=0), opened("mobilenet_v2_group", seed=1)
    seen: list[list[float]] = []

    def rates(*models: Model, **_: Any) -> None:
        seen.append([model.bundle.optimizer.param_groups[0]["lr"] for model in models])

    monkeypatch.setattr("mdhfl.learning.mutual.fit_mutually", rates)
    images = SimpleNamespace(images=None, labels=None)
    site: Any = SimpleNamespace(model=first, proxy=second, training=images, settings=SimpleNamespace(site="site-1"))
    for number in (1, 2, 3):
        learner: Any = SimpleNamespace(request=SimpleNamespace(round=number, seed=0), class_counts=lambda: COUNTS)
        LocalTraining(
            opened=site, learner=learner, method=ProxyFl(cooling_from=2), epochs=1, phase="train", companion=None,
            should_stop=never,
        ).run()  # fmt: skip
    rates(first, second)
    assert seen == [[1e-3, 1e-3], [5e-4, 5e-4], [2.5e-4, 2.5e-4], [1e-3, 1e-3]]


def test_what_a_site_does_about_wrong_labels_is_refused_beside_a_proxy() -> None:
    with pytest.raises(ValueError, match=r"relabel_above: expected 1 with a proxy, got 0\.9: .* leave it out"):
        ProxyFl(relabel_above=0.9)
    with pytest.raises(ValueError, match=r"early_weight: expected 0 with a proxy, got 3: .* leave it out"):
        ProxyFl(early_weight=3.0)
    assert ProxyFl(relabel_above=1.0, early_weight=0.0, cooling_from=2) == ProxyFl(cooling_from=2)


def test_only_the_proxy_leaves_and_all_sites_get_the_same_one(tmp_path: Path, three_sites: Path) -> None:
    _, exchanges = run(
        tmp_path, three_sites, "proxyfl", rounds=1, changes=QUICK, bundles=("shufflenet_v2", "resnet10", "mobilenet_v2")
    )
    shared = [answer.shared for _, answer in exchanges if answer.shared is not None]
    assert {one.bundle for one in shared if isinstance(one, Weights)} == {"mobilenet_v2_group"}
    assert len({one.layout for one in shared if isinstance(one, Weights)}) == 1
    lessons = [request.lesson for request, _ in exchanges if request.action == "learn"]
    assert len(lessons) == 3
    first = lessons[0]
    assert isinstance(first, Merged)
    assert all(isinstance(each, Merged) and np.array_equal(each.values, first.values) for each in lessons)
    weights = [one for one in shared if isinstance(one, Weights) and one.round == 0]
    mean = sum(one.images * one.values.astype(np.float64) for one in weights) / sum(one.images for one in weights)
    np.testing.assert_allclose(first.values, mean, rtol=1e-5, atol=1e-7)


@pytest.mark.slow
def test_a_restart_finds_the_proxy_where_it_stood(tmp_path: Path, three_sites: Path) -> None:
    whole, _ = run(tmp_path / "a", three_sites, "proxyfl", rounds=2, changes=QUICK)
    experiment = new_run(tmp_path / "b", three_sites, recipe="proxyfl", rounds=2, changes=QUICK)

    def die(request: Any, answer: Any) -> None:
        if (request.action, request.round, answer.site) == ("learn", 2, "site-1"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_in_process(tmp_path / "b", experiment=experiment, on_answer=die)
    run_in_process(tmp_path / "b", experiment=experiment)
    assert numbers_of(Results(tmp_path / "b", experiment=experiment).rows()) == whole


def test_the_proxy_is_small_and_has_no_batch_statistics() -> None:
    proxy = opened("mobilenet_v2_group", seed=0)
    assert proxy.bundle.parameters < 1_000_000
    assert not any("running" in name for name in proxy.network.state_dict())
