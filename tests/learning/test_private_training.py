"""DP-SGD: a step against a literal loop, the bound on what one image can do, and nothing of it left behind."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from fakes.simulated import tiny_bundle
from torch import Tensor
from torch.nn import functional as F

from mdhfl.learning.model import Model
from mdhfl.learning.private_training import PrivateSteps, fit_privately, steps_per_epoch, why_not_private
from mdhfl.learning.training import Companion, Loss, TrainingDiverged

NO_NOISE = 1e-9
PLAIN_SGD = {"optimizer": "SGD", "learning_rate": 1.0, "augmentation": False}


@pytest.fixture
def tiny(tmp_path: Path) -> Callable[[], Model]:
    """Give models of the same weights: one linear layer, a plain gradient step of length 1, no random transforms."""
    bundle = tiny_bundle(tmp_path / "tiny")
    return lambda: Model.open(bundle, num_classes=3, image_size=32, seed=0, changes=PLAIN_SGD)


def images(count: int, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    pictures = torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8, generator=generator)
    return pictures, torch.randint(0, 3, (count,), generator=generator)


def weights_of(model: Model) -> Tensor:
    return torch.cat([p.detach().reshape(-1) for p in model.network.parameters()])


def step(
    model: Model,
    pictures: Tensor,
    labels: Tensor,
    *,
    loss: Loss = F.cross_entropy,
    noise: float = NO_NOISE,
    seed: int = 1,
    steps: Mapping[str, Any] | None = None,
    **how: Any,
) -> Tensor:
    """Return what the weights change by in some steps over all images, without noise if not asked for."""
    before = weights_of(model)
    asked = PrivateSteps(**{"noise": noise, "clipping": 0.5, "rate": 1.0, "count": 1, **(steps or {})})
    fit_privately(model, pictures, labels, loss=loss, steps=asked, seed=seed, **how)
    return weights_of(model) - before


def test_a_step_is_the_mean_of_clipped_gradients_of_single_images(tiny: Callable[[], Model]) -> None:
    pictures, labels = images(7)
    model, literal = tiny(), torch.zeros(0)
    for picture, label in zip(pictures, labels, strict=True):
        x = model.bundle.intensity_transform(picture[None])
        loss = F.cross_entropy(model.network(x), label[None])
        gradient = torch.cat([g.reshape(-1) for g in torch.autograd.grad(loss, list(model.network.parameters()))])
        clipped = gradient * min(1.0, 0.5 / float(gradient.norm()))
        assert float(gradient.norm()) > 0.5  # else nothing is clipped here
        literal = clipped if not len(literal) else literal + clipped
    assert torch.allclose(step(tiny(), pictures, labels), -literal / 7, atol=1e-5)


@pytest.mark.parametrize("bundle", ["mobilenet_v2_group", "shufflenet_v2_group"])
def test_a_step_of_a_convolutional_network_is_the_mean_of_clipped_gradients_of_single_images(
    bundle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Layer by layer: images lie in memory as channels_last, which Opacus' own gradients of convolutions misread."""
    monkeypatch.setattr(torch.nn.functional, "dropout", lambda x, *args, **kwargs: x)
    pictures, labels = images(5)
    model = Model.open(bundle, num_classes=3, image_size=32, seed=0, changes=PLAIN_SGD)
    before = {name: weights.detach().clone() for name, weights in model.network.named_parameters()}
    literal = {name: torch.zeros_like(weights) for name, weights in before.items()}
    model.network.train()
    for picture, label in zip(pictures, labels, strict=True):
        loss = F.cross_entropy(model.network(model.bundle.intensity_transform(picture[None])), label[None])
        gradients = dict(zip(before, torch.autograd.grad(loss, list(model.network.parameters())), strict=True))
        norm = float(torch.stack([gradient.norm() for gradient in gradients.values()]).norm())
        for name, gradient in gradients.items():
            literal[name] += gradient * min(1.0, 0.5 / norm) / len(pictures)
    step(model, pictures, labels)
    for name, weights in model.network.named_parameters():
        assert torch.allclose(weights - before[name], -literal[name], atol=1e-5, rtol=1e-3), name


def test_what_opacus_misreads_is_of_the_same_image() -> None:
    """Opacus' own gradients of images in channels_last are of other pixels, but of the same image's."""
    from opacus.grad_sample.conv import compute_conv_grad_sample

    layer = torch.nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False)
    seen, others = (torch.randn(4, 3, 12, 12).contiguous(memory_format=torch.channels_last) for _ in range(2))
    others[0] = seen[0]
    back = torch.randn(4, 8, 6, 6)
    first, again, right = (
        compute_conv_grad_sample(layer, [images], back)[layer.weight][0] for images in (seen, others, seen.contiguous())
    )
    assert torch.equal(first, again)
    if torch.allclose(first, right, atol=1e-4):
        pytest.fail("Opacus reads channels_last now: _read_images_in_order is no longer needed")


def test_a_network_whose_gradients_of_single_images_are_wrong_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from opacus.grad_sample import GradSampleModule

    model = Model.open("mobilenet_v2_group", num_classes=3, image_size=32, seed=0)
    assert why_not_private(model) == ""
    right = GradSampleModule.GRAD_SAMPLERS[torch.nn.Linear]

    def half(*args: Any) -> Any:
        return {weights: 0.5 * gradient for weights, gradient in right(*args).items()}

    monkeypatch.setitem(GradSampleModule.GRAD_SAMPLERS, torch.nn.Linear, half)
    why = why_not_private(model)
    assert why.startswith("the gradients of single images do not add up to that of all in classifier."), why


def test_one_image_moves_the_sum_by_the_clipping_at_most_whatever_the_loss(tiny: Callable[[], Model]) -> None:
    """A loss that compares the images of a batch would give each of them a say in all gradients."""

    def coupled(logits: Tensor, labels: Tensor) -> Tensor:
        return 1000 * (logits - logits.mean(dim=0)).square().sum() + 100 * F.cross_entropy(logits, labels) * len(labels)

    pictures, labels = images(6)
    whole = 6 * step(tiny(), pictures, labels, loss=coupled)
    for left_out in range(6):
        rest = [i for i in range(6) if i != left_out]
        without = 5 * step(tiny(), pictures[rest], labels[rest], loss=coupled)
        assert 0.1 < float((whole - without).norm()) <= 0.5 + 1e-4


def test_a_fused_optimiser_takes_each_gradient_to_its_own_weight() -> None:
    """It goes through memory: gradients laid out otherwise than convolutions in channels_last would be mixed up."""

    def moved(fused: bool) -> Tensor:
        model = Model.open("shufflenet_v2_group", num_classes=3, image_size=32, seed=0)
        assert all(group["fused"] for group in model.bundle.optimizer.param_groups)
        for group in model.bundle.optimizer.param_groups:
            group["fused"] = fused
        return step(model, *images(6), steps={"count": 3})

    assert torch.allclose(moved(fused=True), moved(fused=False), atol=1e-5)


def test_noise_has_the_size_that_was_asked_for(tiny: Callable[[], Model]) -> None:
    pictures, labels = images(4)

    def nothing(logits: Tensor, labels: Tensor) -> Tensor:
        return 0 * logits.sum()

    changes = 4 * torch.stack([step(tiny(), pictures, labels, loss=nothing, noise=3.0, seed=s) for s in range(40)])
    assert abs(float(changes.std()) - 3.0 * 0.5) < 0.06  # 5880 draws: four standard errors
    assert abs(float(changes.mean())) < 0.08


def test_a_seed_gives_the_same_weights_and_another_gives_others(tiny: Callable[[], Model]) -> None:
    pictures, labels = images(8)
    how = {"noise": 1.0, "steps": {"rate": 0.5, "count": 3}}
    first = step(tiny(), pictures, labels, seed=5, **how)
    assert torch.equal(first, step(tiny(), pictures, labels, seed=5, **how))
    assert not torch.allclose(first, step(tiny(), pictures, labels, seed=6, **how))


def test_a_step_without_any_image_is_noise_alone(tiny: Callable[[], Model]) -> None:
    pictures, labels = images(3)
    assert float(step(tiny(), pictures, labels, steps={"rate": 1e-9, "count": 2}).abs().max()) < 1e-4
    assert float(step(tiny(), pictures, labels, noise=1.0, steps={"rate": 1e-9, "count": 1}).abs().max()) > 1e-3


def test_what_public_images_teach_is_added_after_the_noise_unclipped(tiny: Callable[[], Model]) -> None:
    pictures, labels = images(4)
    public, _ = images(5, seed=9)
    targets = torch.full((5, 3), 1 / 3)

    def taught(logits: Tensor, rows: Tensor) -> Tensor:
        return 50 * F.cross_entropy(logits, rows)

    def nothing(logits: Tensor, labels: Tensor) -> Tensor:
        return 0 * logits.sum()

    model = tiny()
    value = taught(model.network(model.bundle.intensity_transform(public)), targets)
    expected = torch.cat([g.reshape(-1) for g in torch.autograd.grad(value, list(model.network.parameters()))])
    companion = Companion(images=public, targets=targets, loss=taught, generator=torch.Generator())
    found = step(model, pictures, labels, loss=nothing, companion=companion)
    assert torch.allclose(found, -expected, atol=1e-4)
    assert float(expected.norm()) > 0.5

    model = tiny()
    layer = next(model.network.parameters())
    moved = step(model, pictures, labels, loss=nothing, penalty=lambda: layer.square().sum())
    assert torch.allclose(moved[: layer.numel()], -2 * weights_of(tiny())[: layer.numel()], atol=1e-4)


def test_an_image_whose_gradient_is_not_finite_says_nothing(tiny: Callable[[], Model]) -> None:
    pictures, labels = images(6)

    def broken(logits: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(logits, labels) * (float("nan") if bool(labels == labels_of_first) else 1.0)

    labels_of_first = labels[0]
    sane = [i for i in range(6) if labels[i] != labels_of_first]
    found = 6 * step(tiny(), pictures, labels, loss=broken)
    assert torch.allclose(found, len(sane) * step(tiny(), pictures[sane], labels[sane]), atol=1e-4)


def test_weights_that_become_infinite_are_a_divergence(tiny: Callable[[], Model]) -> None:
    pictures, labels = images(4)
    with pytest.raises(TrainingDiverged):
        step(tiny(), pictures, labels, noise=1e38, steps={"clipping": 1e4, "count": 3})


def test_the_network_is_as_it_was_afterwards() -> None:
    model = Model.open("mobilenet_v2_group", num_classes=3, image_size=32, seed=0, averaging=0.9)
    names, inplace = list(model.network.state_dict()), [m for m in model.network.modules() if getattr(m, "inplace", 0)]
    assert inplace
    before = weights_of(model)
    assert why_not_private(model) == ""
    assert torch.equal(weights_of(model), before)
    steps = PrivateSteps(noise=1.0, clipping=1.0, rate=0.5, count=1)
    fit_privately(model, *images(4), loss=F.cross_entropy, steps=steps, seed=0)
    assert not torch.equal(weights_of(model), before)
    assert list(model.network.state_dict()) == names
    assert all(layer.inplace for layer in inplace)
    for left in ("grad_sample", "summed_grad", "_forward_counter"):
        assert not any(getattr(p, left, None) is not None for p in model.network.parameters()), left
    assert not any(layer._forward_hooks or layer._backward_hooks for layer in model.network.modules())


@pytest.mark.parametrize("bundle", ["resnet10", "shufflenet_v2", "mobilenet_v2"])
def test_batch_normalisation_is_found(bundle: str) -> None:
    assert "BatchNorm" in why_not_private(Model.open(bundle, num_classes=3, image_size=32, seed=0))


def test_a_pass_has_as_many_steps_as_batches() -> None:
    assert [steps_per_epoch(n, batch_size=16) for n in (1, 16, 17, 200)] == [1, 1, 2, 13]
