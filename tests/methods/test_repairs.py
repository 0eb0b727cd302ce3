"""The two repairs that every method of shared knowledge can take: public statistics apart, and a prior-free loss."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from fakes.simulated import changes_for, model_of, run
from torch import nn

from mdhfl.jobs import RECIPES
from mdhfl.methods import KnowledgeMethod, changed

PUBLISHED = [name for name, one in RECIPES.items() if isinstance(one.method, KnowledgeMethod) and name != "mdhfl_plus"]
COUNTS, LABELS = [7, 0, 2, 1], [0, 2, 0, 3, 1]


def method_of(name: str, **changes: object) -> KnowledgeMethod:
    method = changed(RECIPES[name].method, changes)
    assert isinstance(method, KnowledgeMethod)
    return method


def learner_with(**parts: Any) -> Any:
    return SimpleNamespace(site="a", last=None, class_counts=lambda: torch.tensor(COUNTS), **parts)


def literal_loss(rows: list[torch.Tensor], *, tau: float, ce: float, rce: float) -> torch.Tensor:
    """Sum over images and classes, term by term; a wrong label counts log 1e-4."""
    total = torch.zeros(())
    for row, label in zip(rows, LABELS, strict=True):
        powers = [
            torch.exp(row[c] + tau * math.log((COUNTS[c] + 1) / (sum(COUNTS) + len(COUNTS)))) for c in range(len(row))
        ]
        total = total - ce * torch.log(powers[label] / torch.stack(powers).sum())
        for c, power in enumerate(powers):
            total = total - rce * power / torch.stack(powers).sum() * (0.0 if c == label else math.log(1e-4))
    return total / len(rows)


def test_there_are_methods_to_repair() -> None:
    assert {"fedmd", "rhfl", "mdhfl"} < set(PUBLISHED)


@pytest.mark.parametrize("tau", [0.5, 1.0])
@pytest.mark.parametrize("name", PUBLISHED)
def test_a_step_of_the_prior_free_loss_is_the_literal_one(name: str, tau: float) -> None:
    method = method_of(name, prior_strength=tau)
    images = torch.randn(len(LABELS), 6, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(1)
    network = nn.Linear(6, len(COUNTS), bias=False)
    w = network.weight.detach().clone().requires_grad_()
    ours = method.local_loss(learner_with())(network(images), torch.tensor(LABELS))
    weights = (1.0, 0.0) if name == "fedmd" else (0.1, 1.0)
    literal = literal_loss(list(images @ w.T), tau=tau, ce=weights[0], rce=weights[1])
    assert ours.item() == pytest.approx(literal.item(), rel=1e-4)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.3)
    ours.backward()
    optimizer.step()
    (gradient,) = torch.autograd.grad(literal, w)
    torch.testing.assert_close(network.weight.detach(), w.detach() - 0.3 * gradient, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", PUBLISHED)
def test_as_published_nothing_is_repaired(name: str) -> None:
    method, learner = method_of(name), learner_with()
    assert method.local_loss(learner) == method.training_loss
    assert method.own_prior(learner) is None
    assert not method.own_statistics


def test_own_images_get_the_prior_back_that_training_left_out() -> None:
    found = method_of("rhfl", prior_strength=0.5).own_prior(learner_with())
    assert found is not None
    assert found.tolist() == pytest.approx([0.5 * math.log((n + 1) / 14) for n in COUNTS])


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("name", PUBLISHED)
def test_public_images_are_answered_with_their_own_statistics(name: str, own: bool) -> None:
    asked = []

    def answers(**how: Any) -> torch.Tensor:
        asked.append(how)
        return torch.zeros(2, 4)

    method = method_of(name, own_statistics=own)
    request = SimpleNamespace(round=1, subject=None)
    losses = SimpleNamespace(train=1.0)
    method.share(learner_with(request=request, answers=answers), losses=losses)  # type: ignore[arg-type]
    assert asked == [{"own_statistics": own}]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fedmd", "rhfl"])
def test_aligning_leaves_running_statistics_alone(tmp_path: Path, three_sites: Path, name: str) -> None:
    """Without a local epoch after the warm-up, they are those of the warm-up, as alone; as published, they are not."""
    statistics = {}
    alone = "local" if name == "fedmd" else "local_sce"
    for folder, recipe, changes in (
        ("alone", alone, {}),
        ("apart", name, {"own_statistics": True}),
        ("published", name, {}),
    ):
        run(tmp_path / folder, three_sites, recipe, rounds=1, changes=changes_for(recipe, local_epochs=0, **changes))
        network = model_of(tmp_path / folder, "site-1")
        statistics[folder] = np.concatenate([v.numpy().ravel() for k, v in network.items() if "running" in k])
    np.testing.assert_array_equal(statistics["apart"], statistics["alone"])
    assert not np.allclose(statistics["published"], statistics["alone"])
