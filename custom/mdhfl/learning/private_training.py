"""DP-SGD: training whose every step is a noisy sum of clipped gradients of single images, by Opacus.

Abadi et al., "Deep Learning with Differential Privacy", CCS 2016. Sampling, gradients per image, clipping and noise are
Opacus' own; here stands the loop around them. What is added to a step beside the private images (a penalty, public
images and what others taught about them) is added after the noise: it is nothing that the private images decide.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from mdhfl.learning.model import Model, ShouldStop, never
from mdhfl.learning.training import Aborted, Augment, Companion, Loss, TrainingDiverged, companion_loss, inputs

TRIAL = 2  # images of noise on which a network is tried
LARGEST_ERROR = 0.01  # of a gradient's norm, that rounding may make


@dataclass(frozen=True, kw_only=True)
class PrivateSteps:
    """What decides the privacy of some steps.

    Attributes:
        noise: the standard deviation of the noise on a sum of gradients, in units of `clipping`; above 0.
        clipping: the largest norm of an image's gradient.
        rate: probability with which each image is in a step's batch, by itself (Poisson sampling), in (0, 1].
        count: of steps.
    """

    noise: float
    clipping: float
    rate: float
    count: int


def steps_per_epoch(images: int, *, batch_size: int) -> int:
    """Return the steps that stand for one pass over the images; each samples an image with one over their number."""
    return max(1, -(-images // batch_size))


def fit_privately(
    model: Model,
    images: Tensor,
    labels: Tensor,
    *,
    loss: Loss,
    steps: PrivateSteps,
    seed: int,
    penalty: Callable[[], Tensor] | None = None,
    companion: Companion | None = None,
    rate: float = 1.0,
    should_stop: ShouldStop = never,
) -> None:
    """Train a model's network on private images; no loss is returned, since that would say something without noise.

    The loss of a batch is the sum of that of each image alone, whatever the method's loss does with several.

    Args:
        model: its network's layers look at one image at a time, see `why_not_private`.
        images: (M, 3, S, S) uint8.
        labels: (M,), possibly wrong.
        loss: (logits, labels) -> scalar; is asked about one image at a time.
        steps: how many, and their noise.
        seed: of sampling, noise, transforms and dropout. Who knows it can take the noise away: keep it secret.
        penalty: added to the loss at every step, after the noise.
        companion: a second stream whose loss is added at every step, after the noise.
        rate: what the optimiser's learning rate is multiplied by, this time only.
        should_stop: asked before every step.

    Raises:
        TrainingDiverged: weights became NaN or infinite; the network must not be used any more.
        Aborted: `should_stop` said so.
    """
    from opacus.utils.uniform_sampler import UniformWithReplacementSampler

    from mdhfl.learning.training import slowed

    device = next(model.network.parameters()).device
    augment = model.begin(seed=seed, transforms_seed=seed)
    batches = UniformWithReplacementSampler(
        num_samples=len(images),
        sample_rate=steps.rate,
        generator=torch.Generator().manual_seed(seed),
        steps=steps.count,
    )
    beside = None if companion is None else companion.batches(model.bundle.batch_size)
    model.network.train()
    with slowed(model.bundle.optimizer, by=rate), _hooked(model.network) as hooked:
        optimizer = _noisy(model, steps, images=len(images), seed=seed)
        for batch in batches:
            if should_stop():
                raise Aborted("stopped between two batches")
            _private_gradient(model, optimizer, images, labels, torch.tensor(batch, dtype=torch.int64), loss, augment)
            optimizer.pre_step()  # clips, adds up, adds the noise
            with _unhooked(hooked):
                extra: list[Tensor] = [] if penalty is None else [penalty()]
                if companion is not None and beside is not None:
                    intensity = model.bundle.intensity_transform
                    batch_loss = companion_loss(
                        model.network, companion, next(beside), intensity=intensity, device=device
                    )
                    extra.append(batch_loss)
                _add_gradient(model.network, extra)
            _lay_out_gradients(model.network)
            optimizer.original_optimizer.step()
            if model.averaged is not None:
                model.averaged.update()
    if not all(bool(weights.isfinite().all()) for weights in model.network.parameters()):
        raise TrainingDiverged("weights became NaN or infinite")


def why_not_private(model: Model) -> str:
    """Return why a model's network cannot be trained so, in one line; empty if it can. The network stays as it is."""
    from copy import deepcopy

    from opacus.validators import ModuleValidator

    network = deepcopy(model.network).train()
    if problems := ModuleValidator.validate(network, strict=False):
        return str(problems[0]).strip().partition("\n")[0].partition(". ")[0]
    trained = [(name, weights) for name, weights in network.named_parameters() if weights.requires_grad]
    try:
        with torch.random.fork_rng(devices=[]):
            x = _trial_images(model)
            _backward(network, x)
            whole = {name: weights.grad for name, weights in trained}
            with _hooked(network):
                network.zero_grad(set_to_none=True)
                _backward(network, x)
                single: dict[str, Any] = {name: getattr(weights, "grad_sample", None) for name, weights in trained}
    except Exception as error:  # whatever a layer raises that Opacus cannot follow
        return f"it gives no gradient of a single image ({type(error).__name__}: {str(error)[:200]})"
    if without := [name for name, gradients in single.items() if gradients is None]:
        return f"no gradient of a single image reaches {', '.join(without[:3])}"
    wrong = [name for name, gradients in single.items() if not _adds_up(gradients, whole[name])]
    return f"the gradients of single images do not add up to that of all in {', '.join(wrong[:3])}" if wrong else ""


def _trial_images(model: Model) -> Tensor:
    """Return a few images of noise, as the network is given images in training."""
    shape = (TRIAL, 3, model.image_size, model.image_size)
    noise = torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    device = next(model.network.parameters()).device
    x: Tensor = model.bundle.intensity_transform(inputs(noise, torch.arange(TRIAL), augment=None, device=device))
    return x


def _backward(network: nn.Module, x: Tensor) -> None:
    """Leave gradients of a loss that no two classes share alike; dropout is the same each time."""
    torch.manual_seed(0)
    logits = network(x)
    (logits * torch.arange(1, 1 + logits.shape[1], device=logits.device)).sum().backward()


def _adds_up(gradients: Tensor, whole: Tensor | None) -> bool:
    """Whether gradients of images add up to that of their batch, but for rounding."""
    apart = gradients.sum(dim=0) - (0 if whole is None else whole)
    return float(apart.norm()) <= LARGEST_ERROR * max(1.0, 0.0 if whole is None else float(whole.norm()))


def _private_gradient(
    model: Model, optimizer: Any, images: Tensor, labels: Tensor, batch: Tensor, loss: Loss, augment: Augment | None
) -> None:
    """Leave the gradient of each image of a batch in its parameters."""
    optimizer.zero_grad(set_to_none=True)
    trained = [weights for weights in model.network.parameters() if weights.requires_grad]
    if not len(batch):  # Poisson sampling may choose none: the step is noise alone
        for weights in trained:
            weights.grad_sample = weights.new_zeros((0, *weights.shape))  # type: ignore[attr-defined]
        return
    device = trained[0].device
    x = model.bundle.intensity_transform(inputs(images, batch, augment=augment, device=device))
    logits, wanted = model.network(x), labels[batch].to(device)
    torch.stack([loss(logits[i : i + 1], wanted[i : i + 1]) for i in range(len(batch))]).sum().backward()
    for weights in trained:  # NaN has no norm to clip: an image that gives such says nothing
        weights.grad_sample.nan_to_num_(nan=0.0, posinf=0.0, neginf=0.0)  # type: ignore[attr-defined]


def _add_gradient(network: nn.Module, losses: list[Tensor]) -> None:
    """Add the gradient of losses that no private image is in."""
    if not losses:
        return
    trained = [weights for weights in network.parameters() if weights.requires_grad]
    found = torch.autograd.grad(torch.stack(losses).sum(), trained, allow_unused=True)
    for weights, gradient in zip(trained, found, strict=True):
        if gradient is not None and weights.grad is not None:
            weights.grad = weights.grad + gradient


def _lay_out_gradients(network: nn.Module) -> None:
    """Lay each gradient out in memory as its weights are: a fused optimiser goes through both side by side."""
    for weights in network.parameters():
        if weights.grad is not None and weights.grad.stride() != weights.stride():
            weights.grad = torch.empty_like(weights).copy_(weights.grad)


def _noisy(model: Model, steps: PrivateSteps, *, images: int, seed: int) -> Any:
    """Return Opacus' optimiser around a model's own."""
    from opacus.optimizers import DPOptimizer

    device = next(model.network.parameters()).device
    return DPOptimizer(
        model.bundle.optimizer,
        noise_multiplier=steps.noise,
        max_grad_norm=steps.clipping,
        expected_batch_size=max(1, round(steps.rate * images)),
        loss_reduction="mean",
        generator=torch.Generator(device=device).manual_seed(seed ^ 1),
        secure_mode=True,  # against attacks on the rounding of noise
    )


@contextmanager
def _unhooked(hooked: Any) -> Iterator[None]:
    """Let the network give ordinary gradients for a while."""
    hooked.disable_hooks()
    try:
        yield
    finally:
        hooked.enable_hooks()


@cache
def _read_images_in_order() -> None:
    """Let Opacus see the images before a convolution in the order in which it reads them from memory.

    It takes strides for granted that images in channels_last do not have (unfold2d, Opacus 1.6), and would return
    gradients of other pixels, without a word.
    """
    from opacus.grad_sample.conv import compute_conv_grad_sample
    from opacus.grad_sample.utils import register_grad_sampler

    def in_order(layer: Any, activations: list[Tensor], backprops: Tensor) -> dict[nn.Parameter, Tensor]:
        found: dict[nn.Parameter, Tensor] = compute_conv_grad_sample(
            layer, [each.contiguous() for each in activations], backprops
        )
        return found

    register_grad_sampler([nn.Conv1d, nn.Conv2d, nn.Conv3d])(in_order)


@contextmanager
def _hooked(network: nn.Module) -> Iterator[Any]:
    """Let a network's layers give gradients per image; afterwards it is as it was."""
    from opacus import GradSampleModule

    _read_images_in_order()
    inplace = [layer for layer in network.modules() if getattr(layer, "inplace", False) is True]
    for layer in inplace:  # a hook must see what a layer was given
        layer.inplace = False  # type: ignore[assignment]
    hooked = GradSampleModule(network, loss_reduction="sum")
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Full backward hook is firing")
            yield hooked
    finally:
        hooked.to_standard_module()
        for weights in network.parameters():
            if hasattr(weights, "summed_grad"):
                del weights.summed_grad
        for layer in inplace:
            layer.inplace = True  # type: ignore[assignment]
