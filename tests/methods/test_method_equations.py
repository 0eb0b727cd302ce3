"""Every method against a slow, literal rendering of its equation: values, gradients, one optimiser step."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from mdhfl.jobs import RECIPES
from mdhfl.learning.training import fit
from mdhfl.methods import KnowledgeMethod, Method, changed
from mdhfl.methods.rhfl import confidence_weights
from mdhfl.sharing.knowledge import Knowledge, Subject
from mdhfl.sharing.teaching import Teaching
from mdhfl.sharing.weights import Weights, mean_by_layout, mean_of

SITES, IMAGES, CLASSES = ("a", "b", "c"), 5, 4


def method_of(name: str, **changes: object) -> Method:
    return changed(RECIPES[name].method, changes)


def knowledge_of(kind: str, *, seed: int = 0, confidences: tuple[float, ...] = (1.0, 1.0, 1.0)) -> dict[str, Knowledge]:
    """Return random knowledge of three sites."""
    random = np.random.default_rng(seed)
    subject = Subject(kind=kind, public_digest="0" * 64, public_count=IMAGES, classes=tuple("wxyz"))
    said = {}
    for site, confidence in zip(SITES, confidences, strict=True):
        values = random.normal(size=(IMAGES, CLASSES)).astype(np.float32)
        if kind == "probabilities":
            values = np.exp(values) / np.exp(values).sum(axis=1, keepdims=True)
        said[site] = Knowledge(values=values, subject=subject, site=site, round=1, confidence=confidence)
    return said


def teacher_of(method: Method, said: dict[str, Knowledge], site: str) -> np.ndarray:
    assert isinstance(method, KnowledgeMethod)
    lesson = method.combine(said, sites=SITES)[site]
    assert isinstance(lesson, Teaching)
    teacher = method.teacher(lesson, own=said[site], site=site)
    assert teacher is not None
    return teacher


def literal_divergence(teacher: np.ndarray, logits: torch.Tensor) -> torch.Tensor:
    """Mean over images of KL(teacher || softmax(logits)), term by term."""
    total = torch.zeros((), dtype=torch.float64)
    for i in range(len(teacher)):
        powers = [torch.exp(z) for z in logits[i].double()]
        for c in range(len(powers)):
            q = powers[c] / torch.stack(powers).sum()
            total = total + float(teacher[i, c]) * (math.log(teacher[i, c]) - torch.log(q))
    return total / len(teacher)


def gradient(loss: torch.Tensor, logits: torch.Tensor) -> np.ndarray:
    (found,) = torch.autograd.grad(loss, logits)
    return found.numpy()


# RHFL


def test_rhfl_aligns_by_the_confidence_weighted_sum_of_divergences() -> None:
    drops = (0.5, 0.1, 0.0)
    said = knowledge_of("probabilities", confidences=drops)
    method = method_of("rhfl")
    exponentials = [math.exp(1 / (3 - 1) + 0.5 * q / sum(drops)) for q in drops]
    w = [e / sum(exponentials) for e in exponentials]
    logits = torch.randn(IMAGES, CLASSES, generator=torch.Generator().manual_seed(1), requires_grad=True)
    literal = sum(w[j] * literal_divergence(said[s].values, logits) for j, s in enumerate(SITES) if s != "a")
    teacher = torch.from_numpy(teacher_of(method, said, "a"))
    ours = method.alignment_loss(logits, teacher)  # type: ignore[attr-defined]
    assert teacher.sum(dim=1).numpy() == pytest.approx(w[1] + w[2], rel=1e-5)
    np.testing.assert_allclose(gradient(ours, logits), gradient(literal, logits), rtol=1e-4, atol=1e-7)


def test_rhfl_reports_the_relative_drop_of_its_loss() -> None:
    method = method_of("rhfl")
    assert method.confidence(before=3.0, now=2.0) == pytest.approx(0.5)
    assert method.confidence(before=2.0, now=3.0) == 0.0  # clamped
    assert method.confidence(before=None, now=3.0) == 0.0
    assert method_of("mdhfl").confidence(before=3.0, now=2.0) == 1.0


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=20))
def test_rhfl_weights_are_a_distribution_whatever_the_drops(drops: list[float]) -> None:
    weights = confidence_weights({str(i): q for i, q in enumerate(drops)}, weight=0.5)
    assert sum(weights.values()) == pytest.approx(1)
    assert max(weights.values()) <= math.exp(0.5) * min(weights.values()) * (1 + 1e-9)
    if sum(drops) == 0:
        assert len({round(w, 12) for w in weights.values()}) == 1


# FedMD


def test_fedmd_digests_the_mean_of_all_logits_by_l1() -> None:
    said, method = knowledge_of("logits"), method_of("fedmd")
    literal = [[sum(float(said[s].values[i, c]) for s in SITES) / 3 for c in range(CLASSES)] for i in range(IMAGES)]
    for site in SITES:
        np.testing.assert_allclose(teacher_of(method, said, site), literal, rtol=1e-5)
    logits = torch.randn(IMAGES, CLASSES, generator=torch.Generator().manual_seed(2), requires_grad=True)
    loss = method.alignment_loss(logits, torch.tensor(literal))  # type: ignore[attr-defined]
    values = logits.detach().numpy()
    terms = [abs(values[i, c] - literal[i][c]) for i in range(IMAGES) for c in range(CLASSES)]
    assert loss.item() == pytest.approx(sum(terms) / len(terms), rel=1e-5)
    expected = np.sign(values - np.array(literal)) / (IMAGES * CLASSES)
    np.testing.assert_allclose(gradient(loss, logits), expected, rtol=1e-6)


# The two other means of MDH-FL


def test_the_geometric_mean_is_the_normalised_product_of_the_others_roots() -> None:
    said = knowledge_of("logits")
    probabilities = {s: torch.from_numpy(said[s].values).softmax(dim=1).numpy() for s in SITES}
    product = np.ones((IMAGES, CLASSES))
    for site in ("b", "c"):
        product *= probabilities[site].astype(np.float64) ** (1 / 2)
    expected = product / product.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(teacher_of(method_of("mdhfl_geometric"), said, "a"), expected, rtol=1e-4)


def test_attention_weighs_those_who_answer_alike() -> None:
    said = knowledge_of("probabilities")
    expected = np.zeros((IMAGES, CLASSES))
    for i in range(IMAGES):
        alike = {j: sum(math.sqrt(said["a"].values[i, c] * said[j].values[i, c]) for c in range(CLASSES)) for j in "bc"}
        scaled = {j: math.exp(s / 0.1) for j, s in alike.items()}
        for j in "bc":
            expected[i] += scaled[j] / sum(scaled.values()) * said[j].values[i]
    np.testing.assert_allclose(teacher_of(method_of("mdhfl_attention"), said, "a"), expected, rtol=1e-4)


@given(st.sampled_from(["mdhfl", "mdhfl_geometric", "mdhfl_attention"]), st.integers(0, 1000), st.permutations(SITES))
def test_teachers_are_distributions_and_the_order_of_sites_does_not_matter(
    name: str, seed: int, order: list[str]
) -> None:
    method = method_of(name)
    said = knowledge_of("logits" if method.shares == "logits" else "probabilities", seed=seed)
    teacher = teacher_of(method, said, "b")
    np.testing.assert_allclose(teacher.sum(axis=1), 1, rtol=1e-5)
    assert teacher.min() >= 0
    np.testing.assert_array_equal(teacher, teacher_of(method, {site: said[site] for site in order}, "b"))


# Weights


def weights_of(site: str, values: list[float], *, images: int = 1, layout: str = "l") -> Weights:
    return Weights(
        values=np.array(values, dtype=np.float32), layout=layout, bundle="net", images=images, site=site, round=1
    )


def test_fedavg_is_the_mean_weighted_by_images() -> None:
    shared = {"a": weights_of("a", [1, 2], images=1), "b": weights_of("b", [4, 8], images=2)}
    assert mean_of(shared).values.tolist() == [(1 + 2 * 4) / 3, (2 + 2 * 8) / 3]


@given(
    st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=50),
    st.integers(1, 10**6),
    st.integers(1, 5),
)
def test_averaging_one_model_or_equal_models_changes_no_bit(values: list[float], images: int, copies: int) -> None:
    one = mean_by_layout({"a": weights_of("a", values, images=images)})["l"].values
    np.testing.assert_array_equal(one, np.array(values, dtype=np.float32))
    many = mean_of({str(i): weights_of(str(i), values, images=images) for i in range(copies)}).values
    np.testing.assert_allclose(many, np.array(values, dtype=np.float32), rtol=1e-7)


def test_groups_are_averaged_by_themselves() -> None:
    shared = {
        "a": weights_of("a", [1, 1]),
        "b": weights_of("b", [3, 3]),
        "c": weights_of("c", [9], layout="other"),
    }
    lessons = method_of("fedavg", grouped=True).combine(shared, sites=["a", "b", "c", "absent"])
    assert {site: lesson.values.tolist() for site, lesson in lessons.items()} == {
        "a": [2, 2],
        "b": [2, 2],
        "c": [9],
    }
    assert lessons["a"] is lessons["b"]  # one broadcast
    with pytest.raises(ValueError, match=r"FedAvg averages weights: expected one architecture, got 2 \(a, b; c\)"):
        method_of("fedavg").combine(shared, sites=["a", "b", "c"])


# FedProx and FedDF, one optimiser step after another


def tiny() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 2 * 2, CLASSES))


IMAGES_8 = torch.randint(0, 256, (8, 3, 2, 2), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))
LABELS_8 = torch.tensor([0, 1, 2, 3, 0, 1, 2, 3])


def to_float(batch: torch.Tensor) -> torch.Tensor:
    return batch.float() / 255


def test_fedprox_steps_along_cross_entropy_and_the_pull_back_to_the_start() -> None:
    mu, rate = 0.7, 0.1
    method, network = method_of("fedprox", proximal_weight=mu), tiny()
    fit(
        network, optimizer=torch.optim.SGD(network.parameters(), lr=rate), images=IMAGES_8, targets=LABELS_8,
        loss=method.training_loss, penalty=method.penalty(network), epochs=3, batch_size=8, intensity=to_float,
        augment=None, generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    literal = tiny()
    w, b = (p.detach().clone().requires_grad_() for p in literal.parameters())
    start = (w.detach().clone(), b.detach().clone())
    order = torch.Generator().manual_seed(0)
    for _ in range(3):
        batch = torch.randperm(8, generator=order)
        z = to_float(IMAGES_8[batch]).flatten(1) @ w.T + b
        ce = -(z - z.exp().sum(dim=1, keepdim=True).log())[range(8), LABELS_8[batch]].mean()
        grads = torch.autograd.grad(ce, (w, b))
        with torch.no_grad():
            for p, g, p0 in zip((w, b), grads, start, strict=True):
                p -= rate * (g + mu * (p - p0))
    for ours, theirs in zip(network.parameters(), (w, b), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    assert method_of("fedprox", proximal_weight=0.0).penalty(network) is None


def test_feddf_distils_the_mean_logits_by_kl_with_adam_on_a_cosine() -> None:
    from mdhfl.learning.images import Part
    from mdhfl.methods.feddf import FedDf
    from mdhfl.server.distillation import distil

    method = method_of("feddf", distil_batches=4, distil_patience=4, distil_batch_size=8, distil_learning_rate=0.05)
    assert isinstance(method, FedDf)
    teacher = torch.randn(8, CLASSES, generator=torch.Generator().manual_seed(4))
    network = tiny()
    best = distil(
        network, images=IMAGES_8, teacher=teacher, validation=Part(images=IMAGES_8, labels=teacher.argmax(dim=1)),
        settings=method, intensity=to_float, generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    literal = tiny()
    parameters = list(literal.parameters())
    first = [torch.zeros_like(p) for p in parameters]
    second = [torch.zeros_like(p) for p in parameters]
    order = torch.Generator().manual_seed(0)
    for step in range(1, 5):
        batch = torch.randperm(8, generator=order)
        loss = literal_divergence(teacher[batch].softmax(dim=1).numpy(), literal(to_float(IMAGES_8[batch])))
        rate = 0.05 * (1 + math.cos(math.pi * (step - 1) / 4)) / 2
        with torch.no_grad():
            for i, g in enumerate(torch.autograd.grad(loss, parameters)):
                first[i] = 0.9 * first[i] + 0.1 * g
                second[i] = 0.999 * second[i] + 0.001 * g**2
                corrected = (second[i] / (1 - 0.999**step)).sqrt() + 1e-8
                parameters[i] -= rate * first[i] / (1 - 0.9**step) / corrected
    for ours, theirs in zip(network.parameters(), parameters, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)
    network.load_state_dict(best)
    before, after = (
        float((m(to_float(IMAGES_8)).argmax(1) == teacher.argmax(1)).float().mean()) for m in (tiny(), network)
    )
    assert after >= before  # the best on the validation part, the start included


def test_feddf_stops_when_validation_gets_no_better() -> None:
    from mdhfl.learning.images import Part
    from mdhfl.server.distillation import distil

    method = method_of("feddf", distil_batches=1000, distil_patience=3, distil_batch_size=8)
    network, steps = tiny(), []
    hook = network.register_forward_hook(lambda module, x, y: steps.append(1) if module.training else None)
    perfect = Part(images=IMAGES_8, labels=network(to_float(IMAGES_8)).argmax(dim=1))
    steps.clear()
    best = distil(
        network, images=IMAGES_8, teacher=torch.randn(8, CLASSES), validation=perfect, settings=method,
        intensity=to_float, generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    hook.remove()
    assert len(steps) == 3  # nothing beats a perfect start
    for name, value in tiny().state_dict().items():
        torch.testing.assert_close(best[name], value, rtol=0, atol=0)
