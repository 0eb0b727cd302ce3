"""Each loss against a literal slow loop from its equation: values, gradients, one optimiser step."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mdhfl.losses import (
    generalised_cross_entropy,
    knowledge_divergence,
    log_prior,
    prior_adjusted,
    symmetric_cross_entropy,
)


def literal_sce(logits: torch.Tensor, labels: torch.Tensor, ce_weight: float, rce_weight: float) -> torch.Tensor:
    """lambda * (-sum_c g_c log p_c) + beta * (-sum_c p_c log g_c), image by image, class by class."""
    total = torch.zeros((), dtype=logits.dtype)
    for row, label in zip(logits, labels.tolist(), strict=True):
        exponentials = [math.e**value for value in row]
        p = [value / sum(exponentials) for value in exponentials]
        ce = -torch.log(p[label])
        rce = sum(-p[c] * math.log(1.0 if c == label else 1e-4) for c in range(len(p)))
        total = total + ce_weight * ce + rce_weight * rce
    return total / len(labels)


def literal_kl(logits: torch.Tensor, teachers: list[torch.Tensor], temperature: float) -> torch.Tensor:
    """1/(P-1) sum_j KL(K_j || softmax(z / T)), teacher first."""
    total = torch.zeros((), dtype=logits.dtype)
    for teacher in teachers:
        for row, k in zip(logits, teacher, strict=True):
            q = torch.softmax(row / temperature, dim=0)
            total = total + sum(k[c] * (torch.log(k[c]) - torch.log(q[c])) for c in range(len(k)))
    return total / (len(teachers) * len(logits))


def random_problem(seed: int, *, batch: int = 5, classes: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(batch, classes, generator=generator, dtype=torch.float64)
    return logits.requires_grad_(), torch.randint(classes, (batch,), generator=generator)


@pytest.mark.parametrize("weights", [(0.1, 1.0), (1.0, 0.0), (0.0, 1.0), (0.7, 0.3)])
def test_symmetric_cross_entropy_equals_its_equation(weights: tuple[float, float]) -> None:
    logits, labels = random_problem(1)
    fast = symmetric_cross_entropy(logits, labels, ce_weight=weights[0], rce_weight=weights[1])
    slow = literal_sce(logits, labels, *weights)
    torch.testing.assert_close(fast, slow)
    (fast_gradient,) = torch.autograd.grad(fast, logits)
    (slow_gradient,) = torch.autograd.grad(slow, logits)
    torch.testing.assert_close(fast_gradient, slow_gradient)


def test_symmetric_cross_entropy_golden_number() -> None:
    """Two classes, logits (0, 0), label 0: CE = ln 2 = 0.693147; RCE = -0.5 ln 1e-4 = 4.605170; 0.1 CE + RCE."""
    value = symmetric_cross_entropy(torch.zeros(1, 2), torch.tensor([0]), ce_weight=0.1, rce_weight=1.0)
    assert value.item() == pytest.approx(0.1 * 0.693147 + 4.605170, abs=1e-5)


def test_reverse_part_is_a_bounded_mean_absolute_error() -> None:
    """With one-hot zeros at 1e-4, RCE = 9.21 (1 - p_y): finite even for a certain, wrong answer."""
    logits = torch.tensor([[40.0, -40.0]])
    value = symmetric_cross_entropy(logits, torch.tensor([1]), ce_weight=0.0, rce_weight=1.0)
    assert value.item() == pytest.approx(9.2103, abs=1e-3)


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_divergence_to_one_mean_teacher_has_the_gradient_of_the_mean_divergence(temperature: float) -> None:
    logits, _ = random_problem(2)
    generator = torch.Generator().manual_seed(3)
    teachers = [torch.randn(5, 4, generator=generator, dtype=torch.float64).softmax(dim=1) for _ in range(3)]
    mean = torch.stack(teachers).mean(dim=0)
    fast, slow = knowledge_divergence(logits, mean, temperature=temperature), literal_kl(logits, teachers, temperature)
    (fast_gradient,), (slow_gradient,) = torch.autograd.grad(fast, logits), torch.autograd.grad(slow, logits)
    torch.testing.assert_close(fast_gradient, slow_gradient)
    torch.testing.assert_close(
        knowledge_divergence(logits, teachers[0], temperature=temperature),
        literal_kl(logits, teachers[:1], temperature),
    )


def test_the_teacher_gets_no_gradient() -> None:
    logits, _ = random_problem(4)
    teacher = torch.full((5, 4), 0.25, dtype=torch.float64, requires_grad=True)
    knowledge_divergence(logits, teacher, temperature=1.0).backward()
    assert teacher.grad is None
    assert logits.grad is not None


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10_000), temperature=st.floats(0.5, 5))
def test_divergence_is_never_negative_and_zero_for_equal_answers(seed: int, temperature: float) -> None:
    logits, _ = random_problem(seed)
    same = (logits / temperature).softmax(dim=1)
    assert knowledge_divergence(logits, same, temperature=temperature).item() == pytest.approx(0, abs=1e-9)
    other = random_problem(seed + 1)[0].softmax(dim=1)
    assert knowledge_divergence(logits, other, temperature=temperature).item() >= 0


def test_one_adam_step_equals_the_literal_one() -> None:
    """theta - lr * m / (sqrt(v) + eps) with bias correction: after one step the moments cancel to the sign of g."""
    logits, labels = random_problem(5)
    weight = torch.eye(4, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([weight], lr=1e-3)
    symmetric_cross_entropy(logits.detach() @ weight, labels, ce_weight=0.1, rce_weight=1.0).backward()
    optimizer.step()
    literal = torch.eye(4, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(literal_sce(logits.detach() @ literal, labels, 0.1, 1.0), literal)
    expected = literal.detach() - 1e-3 * gradient / (gradient.abs() + 1e-8)
    torch.testing.assert_close(weight.detach(), expected)


def test_the_balanced_loss_is_the_literal_one_with_its_gradient() -> None:
    counts, tau = torch.tensor([7.0, 0.0, 2.0]), 0.7
    pi = [(float(n) + 1) / (9 + 3) for n in counts]
    logits = torch.randn(5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([0, 2, 0, 0, 2])
    total = torch.zeros((), dtype=torch.float64)
    for i in range(5):
        powers = [torch.exp(logits[i, c]) * pi[c] ** tau for c in range(3)]
        total = total - torch.log(powers[int(labels[i])] / (powers[0] + powers[1] + powers[2]))
    literal = total / 5
    ours = torch.nn.functional.cross_entropy(prior_adjusted(logits, log_prior(counts).double(), strength=tau), labels)
    assert ours.item() == pytest.approx(literal.item(), rel=1e-6)
    (expected,), (got,) = torch.autograd.grad(literal, logits), torch.autograd.grad(ours, logits)
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-8)
    assert torch.isfinite(log_prior(counts)).all()  # a class without an image


def test_without_strength_the_scores_are_untouched() -> None:
    logits = torch.randn(4, 3)
    assert prior_adjusted(logits, log_prior(torch.tensor([1.0, 2.0, 3.0])), strength=0.0) is logits


@pytest.mark.parametrize("q", [0.3, 0.7, 1.0])
def test_generalised_cross_entropy_is_the_literal_one_with_its_gradient(q: float) -> None:
    logits = torch.randn(6, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([0, 1, 2, 3, 0, 1])
    terms = []
    for i, y in enumerate(labels.tolist()):
        p = torch.exp(logits[i, y]) / torch.exp(logits[i]).sum()
        terms.append((1 - p**q) / q)
    literal = torch.stack(terms).mean()
    ours = generalised_cross_entropy(logits, labels, q=q)
    assert ours.item() == pytest.approx(literal.item(), rel=1e-9)
    (expected,), (got,) = torch.autograd.grad(literal, logits), torch.autograd.grad(ours, logits)
    torch.testing.assert_close(got, expected, rtol=1e-7, atol=1e-10)
