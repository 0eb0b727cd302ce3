"""The local training of a round: of a site's network alone, or with a twin or a proxy beside it, or under a budget."""

from typing import TYPE_CHECKING, Any

from mdhfl.learning.model import Model, ShouldStop
from mdhfl.methods import Method
from mdhfl.methods.parties import Learner, Loss
from mdhfl.site.privately import train_privately
from mdhfl.site.work import Opened, seed_of

if TYPE_CHECKING:
    from torch import Tensor

    from mdhfl.learning.training import Companion


def train_locally(
    opened: Opened,
    learner: Learner,
    *,
    method: Method,
    epochs: int,
    phase: str,
    companion: "Companion | None",
    should_stop: ShouldStop,
) -> float | None:
    """Train a site's models on its own images.

    Args:
        opened: images and networks.
        learner: the site in this round, as its method sees it.
        method: of the round's request.
        epochs: passes over the training images.
        phase: "warm_up" or "train"; each has its own random numbers.
        companion: public images that join the steps; a proxy and a twin train without them.
        should_stop: asked before every batch.

    Returns:
        The mean loss of the network; None without epochs, or under a privacy budget: it would tell something without
        noise.

    Raises:
        Refusal: the privacy budget is spent.
        TrainingDiverged: NaN or infinity; the network must not be used any more.
        Aborted: `should_stop` said so.
    """
    request, settings = learner.request, opened.settings
    seeds = {
        "seed": seed_of(settings, request, phase),
        "transforms_seed": seed_of(settings, request, f"{phase} transforms"),
    }
    if opened.proxy is not None:
        from mdhfl.learning.mutual import fit_mutually

        return fit_mutually(
            opened.model,
            opened.proxy,
            images=opened.training.images,
            labels=opened.training.labels,
            losses=method.proxy_losses(learner),
            epochs=epochs,
            should_stop=should_stop,
            **seeds,
        )
    how: dict[str, Any] = {
        "epochs": epochs,
        "rate": method.learning_rate_factor(request.round),
        "should_stop": should_stop,
    }
    beside: dict[str, Any] = {"companion": companion, "penalty": method.penalty(opened.model.network)}
    if opened.plan is not None:
        train_privately(
            opened.model,
            opened.private.training,
            plan=opened.plan,
            settings=settings,
            request=request,
            phase=phase,
            loss=method.local_loss(learner),
            **beside,
            **how,
        )
        return None
    how |= {**seeds, "images_per_epoch": len(opened.private.training.labels)}
    if opened.twin is not None:
        targets, loss = _lesson_of_labels(opened.twin, opened, learner, method, should_stop)
        opened.twin.fit(opened.training.images, targets, loss=loss, **how)
    targets, loss = _lesson_of_labels(opened.model, opened, learner, method, should_stop)
    return opened.model.fit(opened.training.images, targets, loss=loss, **beside, **how)


def _lesson_of_labels(
    model: Model, opened: Opened, learner: Learner, method: Method, should_stop: ShouldStop
) -> "tuple[Tensor, Loss]":
    """Return what a model is to train towards, and the loss that reads it."""
    labels, loss = _labels(model, opened, learner, method, should_stop), method.local_loss(learner)
    if model.early is None:
        return labels, loss
    prior = method.own_prior(learner)
    return model.early.beside(loss, labels, weight=method.early_learning(), prior=prior)


def _labels(model: Model, opened: Opened, learner: Learner, method: Method, should_stop: ShouldStop) -> "Tensor":
    """Return the labels to train with: the site's, or the model's own answers where they are to be trusted."""
    trust = method.trust(learner.request.round)
    if trust >= 1:
        return opened.training.labels
    from mdhfl.learning.relabelling import relabelled

    prior = method.own_prior(learner)
    return relabelled(model, opened.training, prior=prior, above=trust, should_stop=should_stop)
