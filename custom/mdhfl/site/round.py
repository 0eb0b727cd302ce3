"""One round at a site: learn from the lesson, train, score, share. Nothing here is written to disk."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mdhfl.learning.model import Model, ShouldStop, never
from mdhfl.methods import Method
from mdhfl.methods.parties import Loss
from mdhfl.metrics import smallest_counts
from mdhfl.seeds import seed_from
from mdhfl.sharing.accounts import Cost, Losses
from mdhfl.sharing.agreement import agreement_with
from mdhfl.sharing.knowledge import Knowledge
from mdhfl.sharing.messages import Answer, Request
from mdhfl.sharing.reasons import Refusal
from mdhfl.sharing.records import Lesson
from mdhfl.sharing.weights import Merged, Weights
from mdhfl.site.best import steady_score
from mdhfl.site.blinding import Blinding
from mdhfl.site.control import compare_with_twin, validation_of
from mdhfl.site.form import least_competence
from mdhfl.site.guarding import guarded
from mdhfl.site.log import refusal_of
from mdhfl.site.state import Progress
from mdhfl.site.training import LocalTraining
from mdhfl.site.work import Opened, about_of, seed_of
from mdhfl.swarm.member import Swarm
from mdhfl.timing import timed

if TYPE_CHECKING:
    from torch import Tensor

    from mdhfl.learning.calibration import OwnMix
    from mdhfl.learning.training import Companion


@dataclass(kw_only=True)
class SiteRound:
    """A site in one round, as its method sees it (`methods.parties.Learner`).

    Attributes:
        opened: images and network.
        request: what is asked.
        method: the request's.
        progress: where the site stood before; None if it has not begun.
        open_swarm: gives the site's part in the experiment's swarm.
        should_stop: asked between two batches.
        on_teacher: told how far a teacher agrees with what the site itself said, from -1 to 1.
        seconds: by phase, so far.
        withheld: what was asked for and not said.
    """

    opened: Opened
    request: Request
    method: Method
    progress: Progress | None
    open_swarm: Callable[[bool], Swarm]
    should_stop: ShouldStop = never
    on_teacher: Callable[[float], None] = lambda agreement: None
    seconds: dict[str, float] = field(default_factory=dict)
    withheld: set[str] = field(default_factory=set)
    companion: "Companion | None" = None

    @property
    def site(self) -> str:
        return self.opened.settings.site

    @property
    def last(self) -> Answer | None:
        return self.progress.answer if self.progress else None

    def run(self) -> Answer:
        """Do the round of a request of action "warm_up", "learn" or "adopt".

        Raises:
            ValueError: what was merged is of another network, or what was taught cannot be used.
            TrainingDiverged: NaN or infinity; the network in memory is spoilt.
            Aborted: `should_stop` said so.
        """
        align = train = None
        if self.progress is None:
            train = self._train(epochs=self.method.warm_up_epochs, phase="warm_up")
        if self.request.lesson is not None:
            align = self._learn(self.request.lesson)
        if self.request.action == "learn":
            train = self._train(epochs=self.method.local_epochs, phase="train")
        self._settle()
        return self._score_and_share(Losses(train=train, align=align))

    def own_mix(self, model: Model) -> "OwnMix | None":
        """Return what becomes of a model's logits for images of the site's own mix; None where it stays with them."""
        from mdhfl.learning.calibration import LEAST_IMAGES, OwnMix, fitted_scale

        prior, held_out = self.method.own_prior(self), self.opened.private.validation
        if prior is None:
            return None
        if not self.method.calibrates() or len(held_out.labels) < LEAST_IMAGES:
            return OwnMix(prior=prior)
        logits = model.predict(held_out.images, should_stop=self.should_stop)
        return OwnMix(prior=prior, scale=fitted_scale(logits, held_out.labels, prior=prior))

    # what a method may ask for

    def class_counts(self) -> "Tensor":
        labels = self.opened.training.labels
        if self.opened.plan is not None:  # what labels tell without noise
            return labels.new_ones(len(self.opened.private.classes)).float()
        return labels.bincount(minlength=len(self.opened.private.classes)).float()

    def public(self, *, views: int, asked_in: int, own_stain: bool) -> "Tensor":
        from mdhfl.learning.views import views_of

        stained = own_stain and self.opened.plan is None  # a stain tells something of all private images
        images = self.opened.public_in_own_stain() if stained else self.opened.public
        return views_of(images, count=views, seed=seed_from(self.request.seed, asked_in, "views"))

    def align(
        self,
        targets: "Tensor",
        *,
        loss: Loss,
        epochs: int,
        images: "Tensor | None" = None,
        keep_statistics: bool = False,
    ) -> float | None:
        with timed(self.seconds, "align"):
            return self.opened.model.fit(
                self.opened.public if images is None else images,
                targets,
                loss=loss,
                epochs=epochs,
                seed=self._seed("align"),
                keep_statistics=keep_statistics,
                rate=self.method.learning_rate_factor(self.request.round),
                should_stop=self.should_stop,
            )

    def accompany(self, targets: "Tensor", *, images: "Tensor", loss: Loss, keep_statistics: bool) -> None:
        import torch

        from mdhfl.learning.training import Companion

        self.companion = Companion(
            images=images,
            targets=targets,
            loss=loss,
            generator=torch.Generator().manual_seed(self._seed("align")),
            keep_statistics=keep_statistics,
        )

    def taught(self, teacher: NDArray[np.floating], *, own: Knowledge | None) -> None:
        if own is not None:
            self.on_teacher(agreement_with(teacher, own=own))

    def answers(self, *, images: "Tensor | None" = None, own_statistics: bool = False) -> "Tensor":
        asked = self.opened.public if images is None else images
        return self.opened.model.predict(asked, own_statistics=own_statistics, should_stop=self.should_stop)

    def competences(self, *, epochs: int, loss: Loss) -> NDArray[np.float32]:
        from mdhfl.learning.crossfit import competences_of, out_of_fold_answers

        if self.opened.plan is not None:
            why = f"site {self.site!r}: privacy: competences tell something of labels without noise"
            raise Refusal("defended", why, defence="privacy")
        training = self.opened.private.training
        answers = out_of_fold_answers(
            training,
            open_model=self.opened.open_another,
            loss=loss,
            epochs=epochs,
            seed=self._seed("competences"),
            should_stop=self.should_stop,
        )
        competences = competences_of(answers, training.labels.numpy(), classes=len(self.opened.private.classes))
        least = np.float32(least_competence(self.opened.settings))
        return np.where(competences < least, np.float32(0), competences)

    def withholds(self, what: str) -> bool:
        if what not in self.opened.settings.withheld:
            return False
        self.withheld.add(what)
        return True

    def weights(self) -> Weights:
        learning = self.request.action in ("warm_up", "learn", "adopt")
        return Weights(
            values=self.opened.shared.vector(),
            layout=self.opened.shared.layout,
            bundle=self.opened.shared.bundle.name,
            images=len(self.opened.private.training.labels),
            site=self.site,
            round=self.request.round if learning or self.last is None else self.last.round,
        )

    def adopt(self, merged: Merged) -> None:
        self.opened.shared.load_vector(merged.values, layout=merged.layout, whose=f"site {self.site!r}")

    def swarm(self, *, encrypted: bool) -> Swarm:
        return self.open_swarm(encrypted)

    def blinding(self) -> Blinding:
        settings = self.opened.settings
        return Blinding(
            site=self.site,
            experiment=self.request.experiment,
            folder=self.opened.folder,
            minimum=settings.minimum_sites,
            partners=settings.partners,
            note=self.note,
        )

    def note(self, error: Exception) -> None:
        settings = self.opened.settings
        refusal_of(error, site=self.site, round=self.request.round, state=settings.state)

    # the round's own steps

    def _learn(self, lesson: Lesson) -> float | None:
        try:
            return self.method.learn(lesson, self)
        except ValueError as error:
            if isinstance(error, Refusal):
                raise
            raise Refusal("lesson", str(error)) from error

    def _train(self, *, epochs: int, phase: str) -> float | None:
        with timed(self.seconds, "train"):
            training = LocalTraining(
                opened=self.opened,
                learner=self,
                method=self.method,
                epochs=epochs,
                phase=phase,
                companion=self.companion,
                should_stop=self.should_stop,
            )
            return training.run()

    def _settle(self) -> None:
        with timed(self.seconds, "train"):
            for model in (self.opened.model, self.opened.twin):
                if model is not None:
                    model.settle(self.opened.training.images)

    def _score_and_share(self, losses: Losses) -> Answer:
        private, twin, control = self.opened.private, self.opened.twin, None
        with timed(self.seconds, "score"):
            model, own, stop = self.opened.model, self.own_mix(self.opened.model), self.should_stop
            validation, _ = model.score(private.validation, own_mix=own, should_stop=stop)
            test, confusion = model.score(private.test, own_mix=own, should_stop=stop)
            if twin is not None:
                mixes = own, self.own_mix(twin)
                control = compare_with_twin(model, twin, private, own_mixes=mixes, should_stop=stop)
        with timed(self.seconds, "share"):
            shared = self.method.share(self, losses=losses)
            last = self.last.shared if self.last else None
            shared = guarded(shared, last=last, settings=self.opened.settings, request=self.request)
        return Answer(
            site=self.site,
            round=self.request.round,
            shared=shared,
            validation=validation_of(validation),
            confusion=smallest_counts(confusion),
            test_ece=test.ece,
            losses=losses,
            cost=Cost(seconds={phase: round(value, 3) for phase, value in self.seconds.items()}),
            about=about_of(self.opened, withheld=self.withheld),
            best=self._is_best(validation.macro_f1),
            control=control,
        )

    def _is_best(self, score: float) -> bool:
        if self.opened.plan is not None:
            return False  # labels would choose what is exported
        before, images = self.progress, len(self.opened.private.validation.labels)
        steady = steady_score([*(before.recent if before else ()), score], images=images)
        return steady is not None and steady > (before.best_score if before else -1.0)

    def _seed(self, purpose: str) -> int:
        return seed_of(self.opened.settings, self.request, purpose)
