"""The local training of a round: of a site's network alone, or with a twin or a proxy beside it, or under a budget."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mdhfl.learning.model import Model, ShouldStop
from mdhfl.methods import Method
from mdhfl.methods.parties import Learner, Loss
from mdhfl.site.privately import train_privately
from mdhfl.site.work import Opened, seed_of

if TYPE_CHECKING:
    from torch import Tensor

    from mdhfl.learning.training import Companion


@dataclass(frozen=True, kw_only=True)
class LocalTraining:
    """One phase of training on a site's own images.

    Attributes:
        opened: images and networks.
        learner: the site in this round, as its method sees it.
        method: of the round's request.
        epochs: passes over the training images.
        phase: "warm_up" or "train"; each has its own random numbers.
        companion: public images that join the steps; a proxy and a twin train without them.
        should_stop: asked before every batch.
    """

    opened: Opened
    learner: Learner
    method: Method
    epochs: int
    phase: str
    companion: "Companion | None"
    should_stop: ShouldStop

    def run(self) -> float | None:
        """Train the site's models.

        Returns:
            The mean loss of the network; None without epochs, or under a privacy budget: it would tell something
            without noise.

        Raises:
            Refusal: the privacy budget is spent.
            TrainingDiverged: NaN or infinity; the network must not be used any more.
            Aborted: `should_stop` said so.
        """
        if self.opened.proxy is not None:
            return self._with_proxy(self.opened.proxy)
        beside: dict[str, Any] = {
            "companion": self.companion,
            "penalty": self.method.penalty(self.opened.model.network),
        }
        if self.opened.plan is not None:
            train_privately(
                self.opened.model,
                self.opened.private.training,
                plan=self.opened.plan,
                settings=self.opened.settings,
                request=self.learner.request,
                phase=self.phase,
                loss=self.method.local_loss(self.learner),
                **beside,
                **self._how(),
            )
            return None
        if self.opened.twin is not None:
            self._alone(self.opened.twin)
        return self._alone(self.opened.model, **beside)

    def _alone(self, model: Model, **beside: Any) -> float | None:
        """Train one model on labels, or on what stands for them."""
        targets, loss = self._targets(model)
        return model.fit(
            self.opened.training.images,
            targets,
            loss=loss,
            images_per_epoch=len(self.opened.private.training.labels),
            **self._seeds(),
            **self._how(),
            **beside,
        )

    def _with_proxy(self, proxy: Model) -> float | None:
        from mdhfl.learning.mutual import fit_mutually
        from mdhfl.learning.training import slowed

        optimizers = self.opened.model.bundle.optimizer, proxy.bundle.optimizer
        with slowed(optimizers[0], by=self._rate()), slowed(optimizers[1], by=self._rate()):
            return fit_mutually(
                self.opened.model,
                proxy,
                images=self.opened.training.images,
                labels=self.opened.training.labels,
                losses=self.method.proxy_losses(self.learner),
                epochs=self.epochs,
                should_stop=self.should_stop,
                **self._seeds(),
            )

    def _rate(self) -> float:
        return self.method.learning_rate_factor(self.learner.request.round)

    def _how(self) -> dict[str, Any]:
        return {"epochs": self.epochs, "rate": self._rate(), "should_stop": self.should_stop}

    def _seeds(self) -> dict[str, Any]:
        settings, request = self.opened.settings, self.learner.request
        return {
            "seed": seed_of(settings, request, self.phase),
            "transforms_seed": seed_of(settings, request, f"{self.phase} transforms"),
        }

    def _targets(self, model: Model) -> "tuple[Tensor, Loss]":
        """Return what a model is to train towards, and the loss that reads it."""
        labels, loss = self._labels(model), self.method.local_loss(self.learner)
        if model.early is None:
            return labels, loss
        prior = self.method.own_prior(self.learner)
        return model.early.beside(loss, labels, weight=self.method.early_learning(), prior=prior)

    def _labels(self, model: Model) -> "Tensor":
        """Return the labels to train with: the site's, or the model's own answers where they are to be trusted."""
        trust = self.method.trust(self.learner.request.round)
        if trust >= 1:
            return self.opened.training.labels
        from mdhfl.learning.relabelling import relabelled

        prior = self.method.own_prior(self.learner)
        return relabelled(model, self.opened.training, prior=prior, above=trust, should_stop=self.should_stop)
