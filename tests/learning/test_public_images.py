"""Public images at a site: their views, their stain, their statistics; and the averaged weights that answer them."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mdhfl.learning.averaging import AveragedNetwork
from mdhfl.learning.crossfit import competences_of, epochs_over, out_of_fold_answers
from mdhfl.learning.images import Part
from mdhfl.learning.model import Model
from mdhfl.learning.normalisation import batch_statistics
from mdhfl.learning.stain import FAINTEST, restained, stain_of
from mdhfl.learning.training import Companion, fit, predict
from mdhfl.learning.views import views_of


def slides(background: tuple[int, int, int], densities: tuple[float, float, float], *, seed: int = 0) -> np.ndarray:
    """Return (6, 3, 16, 16) uint8 cells: a stained square on an empty slide, by Beer and Lambert."""
    random = np.random.default_rng(seed)
    images = np.empty((6, 3, 16, 16))
    for i in range(6):
        thickness = np.zeros((16, 16))
        thickness[4:12, 4:12] = random.uniform(0.5, 1.5, size=(8, 8))
        for c in range(3):
            images[i, c] = background[c] * np.exp(-densities[c] * thickness)
    return images.round().astype(np.uint8)


def test_the_stain_of_a_slide_is_its_light_and_its_density() -> None:
    stain = stain_of(slides((240, 230, 220), (0.3, 0.8, 0.4)))
    np.testing.assert_allclose(stain.background, [240, 230, 220], atol=1)
    np.testing.assert_allclose(stain.density, [0.3, 0.8, 0.4], rtol=0.1)


def test_restaining_gives_the_other_slides_look_and_keeps_the_empty_empty() -> None:
    foreign, own = slides((240, 230, 220), (0.3, 0.8, 0.4)), slides((200, 210, 235), (0.6, 0.5, 0.9), seed=1)
    moved = restained(foreign, to=stain_of(own))
    np.testing.assert_allclose(stain_of(moved).background, stain_of(own).background, atol=2)
    np.testing.assert_allclose(stain_of(moved).density, stain_of(own).density, rtol=0.15)
    empty = (foreign[:, :, 0, 0].astype(int), moved[:, :, 0, 0].astype(int))
    assert (np.abs(empty[1] - np.array([200, 210, 235])) <= 2).all()


@settings(max_examples=20)
@given(st.integers(0, 1000))
def test_restaining_is_deterministic_and_never_leaves_the_range(seed: int) -> None:
    random = np.random.default_rng(seed)
    foreign = random.integers(0, 256, size=(2, 3, 8, 8), dtype=np.uint8)
    own = stain_of(random.integers(0, 256, size=(2, 3, 8, 8), dtype=np.uint8))
    np.testing.assert_array_equal(restained(foreign, to=own), restained(foreign, to=own))


@pytest.mark.parametrize("value", [0, 7, 128, 255])
def test_a_set_without_anything_on_it_has_no_stain_to_change(value: int) -> None:
    blank = np.full((2, 3, 8, 8), value, dtype=np.uint8)
    assert FAINTEST > 0
    assert restained(blank, to=stain_of(slides((240, 230, 220), (0.3, 0.8, 0.4)))).shape == blank.shape
    grey = np.repeat(np.random.default_rng(0).integers(0, 256, (2, 1, 8, 8), dtype=np.uint8), 3, axis=1)
    assert restained(slides((240, 230, 220), (0.3, 0.8, 0.4)), to=stain_of(grey)).dtype == np.uint8


def test_views_begin_with_the_images_and_are_the_same_for_a_seed() -> None:
    images = torch.randint(0, 256, (3, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    views = views_of(images, count=3, seed=7)
    assert views.shape == (9, 3, 16, 16)
    assert views.dtype == torch.uint8
    assert torch.equal(views[:3], images)
    assert torch.equal(views, views_of(images, count=3, seed=7))
    assert not torch.equal(views[3:], views_of(images, count=3, seed=8)[3:])
    assert torch.equal(views_of(images, count=1, seed=7), images)


def test_a_view_is_a_turned_image_and_not_another_one() -> None:
    """A centred disc looks the same from everywhere, but for the zoom."""
    y, x = np.mgrid[:33, :33]
    disc = np.where((y - 16) ** 2 + (x - 16) ** 2 < 36, 20, 230).astype(np.uint8)
    images = torch.from_numpy(np.stack([[disc] * 3] * 40))
    views = views_of(images, count=2, seed=0)[40:]
    dark = (views[:, 0].float() < 125).float().mean(dim=(1, 2)) / (images[0, 0].float() < 125).float().mean()
    assert dark.min() > 0.8**2 * 0.85
    assert dark.max() < 1.25**2 * 1.15


def tiny() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(),
        torch.nn.Linear(4, 3),
    )  # fmt: skip


def to_float(images: torch.Tensor) -> torch.Tensor:
    return images.float() / 255


IMAGES = torch.randint(0, 256, (12, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))
LABELS = torch.tensor([0, 1, 2] * 4)


def test_the_averaged_network_is_the_literal_average_over_steps() -> None:
    network = tiny()
    average = AveragedNetwork(network, decay=0.8)
    literal = {name: value.clone() for name, value in network.state_dict().items()}

    def after_step() -> None:
        average.update()
        for name, value in network.state_dict().items():
            floating = value.is_floating_point()
            literal[name] = 0.8 * literal[name] + 0.2 * value if floating else value.clone()

    optimizer = torch.optim.Adam(network.parameters(), 0.01)
    fit(
        network, optimizer=optimizer, images=IMAGES, targets=LABELS, loss=torch.nn.functional.cross_entropy, epochs=3,
        batch_size=4, intensity=to_float, augment=None, generator=torch.Generator().manual_seed(0),
        after_step=after_step,
    )  # fmt: skip
    for name, value in average.network.state_dict().items():
        torch.testing.assert_close(value, literal[name], rtol=1e-5, atol=1e-7)
    assert not any(parameter.requires_grad for parameter in average.network.parameters())
    with pytest.raises(ValueError, match="expected from 0 to below 1, got 1"):
        AveragedNetwork(network, decay=1)


@pytest.mark.parametrize("count", [257, 300])
def test_the_averaged_network_measures_its_statistics_anew(count: int) -> None:
    """The running statistics become those of all images, with the averaged weights; nothing else changes.

    The images come site by site, as those of a pool: dark ones first, then as many bright ones as leave a batch of 256
    with one or 44 images. Each counts alike.
    """
    model = Model.open("resnet10", num_classes=3, image_size=32, seed=0, averaging=0.9)
    assert model.averaged is not None
    images = torch.randint(0, 128, (count, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    images[200:] += 127
    before = {name: value.clone() for name, value in model.answering.state_dict().items()}
    model.settle(images)
    first = next(layer for layer in model.answering.modules() if isinstance(layer, torch.nn.BatchNorm2d))
    x = model.bundle.intensity_transform(images).contiguous(memory_format=torch.channels_last)
    seen = next(layer for layer in model.answering.modules() if isinstance(layer, torch.nn.Conv2d))(x)
    torch.testing.assert_close(first.running_mean, seen.mean(dim=(0, 2, 3)), rtol=0.01, atol=1e-3)
    torch.testing.assert_close(first.running_var, seen.var(dim=(0, 2, 3)), rtol=0.02, atol=0)
    assert first.momentum == 0.1
    assert not any(module.training for module in model.answering.modules())
    for name, value in model.answering.state_dict().items():
        assert "running" in name or "num_batches" in name or torch.equal(value, before[name]), name


def test_a_network_that_answers_itself_keeps_its_statistics() -> None:
    model = Model.open("resnet10", num_classes=3, image_size=32, seed=0)
    before = {name: value.clone() for name, value in model.network.state_dict().items()}
    model.settle(torch.randint(0, 255, (8, 3, 32, 32), dtype=torch.uint8))
    assert all(torch.equal(value, before[name]) for name, value in model.network.state_dict().items())


@pytest.mark.parametrize("count", [1, 2, 255, 256, 257, 1000])
def test_the_order_of_the_images_does_not_matter_to_their_answers(count: int) -> None:
    """Each batch runs through all images, so that own statistics are those of all; answers keep the images' order."""
    network = torch.nn.Flatten()
    images = torch.arange(count, dtype=torch.int64).remainder(256).to(torch.uint8).reshape(count, 1, 1, 1)
    network.register_parameter("unused", torch.nn.Parameter(torch.zeros(1)))
    answers = predict(network, images=images, intensity=Tensor.float)
    assert torch.equal(answers[:, 0], images.float()[:, 0, 0, 0])


def test_a_joint_step_is_the_literal_sum_of_both_losses() -> None:
    """One step of plain SGD on a private and a public batch, public statistics apart."""
    teacher = torch.tensor([[0.7, 0.2, 0.1]]).expand(12, 3)
    network, literal = tiny(), tiny()

    def public_loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return 3 * torch.nn.functional.kl_div(logits.log_softmax(1), targets, reduction="batchmean")

    companion = Companion(
        images=IMAGES.flip(0), targets=teacher, loss=public_loss, generator=torch.Generator().manual_seed(9)
    )
    fit(
        network, optimizer=torch.optim.SGD(network.parameters(), 0.1), images=IMAGES, targets=LABELS,
        loss=torch.nn.functional.cross_entropy, epochs=1, batch_size=12, intensity=to_float, augment=None,
        generator=torch.Generator().manual_seed(0), companion=companion,
    )  # fmt: skip
    private = torch.randperm(12, generator=torch.Generator().manual_seed(0))
    public = torch.randperm(12, generator=torch.Generator().manual_seed(9))
    literal.train()
    x = to_float(IMAGES[private])
    loss = torch.nn.functional.cross_entropy(literal(x), LABELS[private])
    statistics = literal[1].running_mean.clone()  # type: ignore[index, union-attr]
    q = literal(to_float(IMAGES.flip(0)[public])).softmax(1)
    p = teacher[public]
    loss = loss + 3 * (p * (p.log() - q.log())).sum(1).mean()
    gradients = torch.autograd.grad(loss, list(literal.parameters()))
    for ours, start, gradient in zip(network.parameters(), literal.parameters(), gradients, strict=True):
        torch.testing.assert_close(ours, start - 0.1 * gradient, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(network[1].running_mean, statistics)  # type: ignore[index]  # of the private batch alone


def test_a_companion_smaller_than_a_batch_begins_anew() -> None:
    companion = Companion(
        images=IMAGES[:3], targets=LABELS[:3], loss=torch.nn.functional.cross_entropy,
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    batches = companion.batches(8)
    assert [sorted(next(batches).tolist()) for _ in range(3)] == [[0, 1, 2]] * 3


def test_public_images_are_answered_with_their_own_statistics() -> None:
    network = tiny().eval()
    x = 5 * torch.randn(6, 3, 8, 8) + 2
    with batch_statistics(network), torch.no_grad():
        ours = network(x)
    convolved = network[0](x)  # type: ignore[index]
    normalised = (convolved - convolved.mean((0, 2, 3), keepdim=True)) / (
        convolved.var((0, 2, 3), keepdim=True, unbiased=False) + 1e-5
    ).sqrt()
    expected = network[4](normalised.mean((2, 3)))  # type: ignore[index]
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)
    assert not network.training


def test_competences_are_agreements_and_not_label_counts() -> None:
    labels = np.array([0] * 30 + [1] * 30 + [2] * 2)
    answers = np.array([0] * 30 + [0] * 20 + [1] * 10 + [0, 0])
    np.testing.assert_allclose(competences_of(answers, labels, classes=4), [0.75, 0.5, 0.0, 0.0], atol=1e-6)


@pytest.mark.parametrize(("images", "expected"), [(200, 4), (1000, 4), (100, 8), (40, 17), (3, 32), (0, 32)])
def test_a_small_fold_is_trained_for_enough_steps_to_answer_more_than_the_commonest_classes(
    images: int, expected: int
) -> None:
    """50 steps of 16 images, from 200 images on four epochs; at most eight times as many as asked for."""
    assert epochs_over(images, epochs=4, batch_size=16) == expected


def test_a_fold_takes_the_epochs_that_its_size_asks_for() -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 255, (32, 3, 32, 32), dtype=torch.uint8, generator=generator)
    part = Part(images=images, labels=torch.arange(32) % 2)
    steps = []

    def loss(logits: Tensor, labels: Tensor) -> Tensor:
        steps.append(len(labels))
        return torch.nn.functional.cross_entropy(logits, labels)

    def opened() -> Model:
        return Model.open("shufflenet_v2", num_classes=2, image_size=32, seed=0)

    answers = out_of_fold_answers(part, open_model=opened, loss=loss, epochs=7, seed=0, should_stop=lambda: False)
    assert answers.shape == (32,)
    assert len(steps) == 2 * 50  # two folds of one batch
