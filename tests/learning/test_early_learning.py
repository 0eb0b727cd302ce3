"""Early-learning regularisation against a literal loop from its equations: values, gradients, one optimiser step."""

import math
from copy import deepcopy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from mdhfl.learning.early_learning import EarlyAnswers, early_learning_regulariser
from mdhfl.learning.model import Model


def literal(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """mean_i log(1 - sum_c p_ic t_ic), image by image."""
    total = torch.zeros((), dtype=logits.dtype)
    for row, target in zip(logits, targets.tolist(), strict=True):
        p = [value / sum(torch.exp(row)) for value in torch.exp(row)]
        total = total + torch.log(1 - sum(p[c] * target[c] for c in range(len(p))))
    return total / len(logits)


def problem(seed: int, *, images: int = 6, classes: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(images, classes, generator=generator, dtype=torch.float64)
    targets = 0.7 * torch.randn(images, classes, generator=generator, dtype=torch.float64).softmax(dim=1)
    return logits.requires_grad_(), targets


def test_it_equals_its_equation_and_so_do_its_gradient_and_a_step() -> None:
    logits, targets = problem(1)
    fast, slow = early_learning_regulariser(logits, targets), literal(logits, targets)
    torch.testing.assert_close(fast, slow)
    (fast_gradient,), (slow_gradient,) = torch.autograd.grad(fast, logits), torch.autograd.grad(slow, logits)
    torch.testing.assert_close(fast_gradient, slow_gradient)
    stepped = logits.detach().clone().requires_grad_()
    optimizer = torch.optim.SGD([stepped], lr=0.5)
    early_learning_regulariser(stepped, targets).backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    torch.testing.assert_close(stepped.detach(), (logits - 0.5 * slow_gradient).detach())


def test_it_pulls_towards_what_was_said_and_not_towards_the_label() -> None:
    """p = (0.5, 0.5), t = (0.7, 0): d/dz log(1 - p t) = -0.7 p (1 - p) / (1 - 0.35) = -0.269 for the class said."""
    logits = torch.zeros(1, 2, requires_grad=True)
    early_learning_regulariser(logits, torch.tensor([[0.7, 0.0]])).backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert logits.grad[0].tolist() == pytest.approx([-0.26923, 0.26923], abs=1e-4)


@given(st.lists(st.floats(-1e4, 1e4), min_size=3, max_size=3), st.integers(0, 2))
def test_the_surest_answers_are_finite_and_none_is_above_zero(scores: list[float], said: int) -> None:
    logits = torch.tensor([scores], dtype=torch.float32, requires_grad=True)
    value = early_learning_regulariser(logits, F.one_hot(torch.tensor([said]), 3).float())
    value.backward()  # type: ignore[no-untyped-call]
    assert math.log(1e-4) - 0.01 <= float(value.detach()) <= 0
    assert logits.grad is not None
    assert bool(logits.grad.isfinite().all())


def test_targets_follow_the_answers_of_the_images_that_a_batch_holds() -> None:
    """Two passes, batch by batch, against the moving average written out; labels are those of the batch's images."""
    labels, prior = torch.tensor([2, 0, 1, 1, 0, 2]), torch.tensor([0.5, -1.0, 0.2, 0.0])
    seen: list[list[int]] = []

    def base(logits: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        seen.append(wanted.tolist())
        return F.cross_entropy(logits + prior, wanted)

    memory = EarlyAnswers(images=6, classes=4, device="cpu")
    numbers, loss = memory.beside(base, labels, weight=3.0, prior=prior)
    expected = torch.zeros(6, 4)
    for step, batch in enumerate([[4, 1, 0], [5, 2], [1, 5, 3]]):
        logits = problem(step, images=len(batch))[0].float()
        value = loss(logits, numbers[torch.tensor(batch)])
        p = (logits.detach() + prior).softmax(dim=1)
        for row, image in zip(p, batch, strict=True):
            expected[image] = 0.7 * expected[image] + 0.3 * row
        literal_value = F.cross_entropy(logits + prior, labels[batch]) + 3.0 * literal(logits + prior, expected[batch])
        torch.testing.assert_close(value, literal_value, rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(memory.targets, expected, rtol=1e-3, atol=1e-3)
    assert seen == [[0, 0, 2], [2, 1], [0, 2, 1]]


def test_a_model_goes_on_with_what_it_has_said() -> None:
    def opened() -> Model:
        model = Model.open("resnet10", num_classes=3, image_size=32, seed=0)
        return Model(
            bundle=model.bundle,
            image_size=32,
            num_classes=3,
            early=EarlyAnswers(images=20, classes=3, device="cpu"),
        )

    images = torch.randint(0, 255, (20, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))
    labels = torch.arange(20) % 3

    def train(model: Model, seed: int) -> None:
        assert model.early is not None
        targets, loss = model.early.beside(F.cross_entropy, labels, weight=3.0, prior=None)
        model.fit(images, targets, loss=loss, epochs=1, seed=seed)

    first, second = opened(), opened()
    train(first, 1)
    second.restore(deepcopy(first.state()))
    for model in (first, second):
        train(model, 2)
    assert first.early is not None
    assert second.early is not None
    assert torch.equal(first.early.targets, second.early.targets)
    assert float(first.early.targets.sum(dim=1).min()) == pytest.approx(1 - 0.7**2, abs=1e-4)
    assert all(torch.equal(a, b) for a, b in zip(first.network.parameters(), second.network.parameters(), strict=True))
