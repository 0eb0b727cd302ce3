"""One bundle's network at work: fit, predict, score, and its weights as one vector.

The one place where a network is built, put on its device and into channels_last, trained and asked.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mdhfl.learning.bundle import NO_CHANGES, LoadedBundle, load_bundle
from mdhfl.learning.cache import ImageCache, how_to_read
from mdhfl.learning.images import Part
from mdhfl.metrics import Scores, confusion_matrix, expected_calibration_error, scores_from

if TYPE_CHECKING:
    from torch import Tensor, nn

    from mdhfl.learning.averaging import AveragedNetwork
    from mdhfl.learning.calibration import OwnMix
    from mdhfl.learning.early_learning import EarlyAnswers
    from mdhfl.learning.training import Companion

ShouldStop = Callable[[], bool]


def never() -> bool:
    """Stop for nobody."""
    return False


@dataclass(frozen=True, kw_only=True)
class Model:
    """A bundle's network, optimiser and transforms, in memory.

    The record is frozen; the network and the optimiser in it change as they learn.

    Attributes:
        bundle: as loaded; its network is on its device.
        image_size: S in pixels.
        num_classes: C.
        averaged: the average of the network's weights over its steps, which answers in its place, if there is one.
        early: what it has said of each training image, if it is to hold on to that.
    """

    bundle: LoadedBundle
    image_size: int
    num_classes: int
    averaged: "AveragedNetwork | None" = None
    early: "EarlyAnswers | None" = None

    @classmethod
    def open(
        cls,
        bundle: str | Path,
        *,
        num_classes: int,
        image_size: int,
        device: str = "cpu",
        seed: int | None = None,
        averaging: float = 0.0,
        weights: Path | None = None,
        changes: Mapping[str, Any] = NO_CHANGES,
    ) -> "Model":
        """Build a bundle's network on a device.

        Args:
            bundle: a built-in one's name, or a path.
            num_classes: C.
            image_size: S in pixels.
            device: "cpu", "cuda" or "cuda:<n>".
            seed: of the initial weights; torch's global generator as it is if None.
            averaging: decay per step of the averaged weights that answer; 0 for none: the network itself answers.
            weights: a state_dict to start from instead, see `weights_file.start_from`.
            changes: of the bundle's training, see `bundle_changes.py`.

        Raises:
            BundleError: the bundle is missing, incomplete, or does not fit; or the weights are not its own.
        """
        import torch

        from mdhfl.learning.averaging import AveragedNetwork
        from mdhfl.learning.device import put_on
        from mdhfl.learning.weights_file import start_from

        if seed is not None:
            torch.manual_seed(seed)
        loaded = load_bundle(bundle, num_classes=num_classes, image_size=image_size, changes=changes)
        if weights is not None:
            start_from(loaded.network, weights, what=f"bundle {loaded.name}")
        put_on(loaded.network, device)
        averaged = AveragedNetwork(loaded.network, decay=averaging) if averaging else None
        return cls(bundle=loaded, image_size=image_size, num_classes=num_classes, averaged=averaged)

    @property
    def network(self) -> "nn.Module":
        """The network that learns."""
        return self.bundle.network

    @property
    def answering(self) -> "nn.Module":
        """The network that answers: the averaged one, or the one that learns."""
        return self.network if self.averaged is None else self.averaged.network

    @cached_property
    def layout(self) -> str:
        """Digest of the names and shapes of what `vector` holds."""
        from mdhfl.learning.parameters import layout_of

        return layout_of(self.network.state_dict())

    def how_to_read(self, *, cache: ImageCache | None = None) -> dict[str, Any]:
        """Return the arguments that make the functions of `images.py` read images as this bundle wants them."""
        return how_to_read(self.bundle, image_size=self.image_size, cache=cache)

    def fit(
        self,
        images: "Tensor",
        targets: "Tensor",
        *,
        loss: Callable[["Tensor", "Tensor"], "Tensor"],
        epochs: int,
        seed: int,
        transforms_seed: int | None = None,
        penalty: Callable[[], "Tensor"] | None = None,
        images_per_epoch: int | None = None,
        companion: "Companion | None" = None,
        keep_statistics: bool = False,
        rate: float = 1.0,
        should_stop: ShouldStop = never,
    ) -> float | None:
        """Train the network, see `training.fit`.

        Args:
            images: (M, 3, S, S) uint8.
            targets: (M,) labels or (M, C) rows of a teacher.
            loss: (logits, targets of the batch) -> scalar.
            epochs: passes over the images.
            seed: of the order of the images, and of dropout.
            transforms_seed: of the bundle's random transforms; None to leave the images as they are.
            penalty: added to the loss at every step.
            images_per_epoch: drawn at random in each epoch; all images if None.
            companion: a second stream whose loss is added at every step.
            keep_statistics: whether the images leave batch normalisation's running statistics alone.
            rate: what the optimiser's learning rate is multiplied by, this time only.
            should_stop: asked before every batch.

        Returns:
            The mean loss over all images seen, None if there were none.

        Raises:
            TrainingDiverged: the loss is not finite; the network must not be used any more.
            Aborted: `should_stop` said so.
        """
        import torch

        from mdhfl.learning.training import fit, slowed

        augment = self.begin(seed=seed, transforms_seed=transforms_seed)
        with slowed(self.bundle.optimizer, by=rate):
            return fit(
                self.network,
                optimizer=self.bundle.optimizer,
                images=images,
                targets=targets,
                loss=loss,
                epochs=epochs,
                batch_size=self.bundle.batch_size,
                intensity=self.bundle.intensity_transform,
                augment=augment,
                generator=torch.Generator().manual_seed(seed),
                penalty=penalty,
                images_per_epoch=images_per_epoch,
                after_step=None if self.averaged is None else self.averaged.update,
                companion=companion,
                keep_statistics=keep_statistics,
                should_stop=should_stop,
            )

    def begin(self, *, seed: int, transforms_seed: int | None) -> "Callable[[Tensor], Tensor] | None":
        """Seed torch's generator, for dropout, and the bundle's random transforms; return what transforms a batch."""
        import torch

        torch.manual_seed(seed)
        transforms = self.bundle.random_transforms
        if transforms is None or transforms_seed is None:
            return None
        transforms.set_random_state(seed=transforms_seed % 2**32)
        return transforms.batch

    def settle(self, images: "Tensor") -> None:
        """Let the averaged network measure its statistics on a site's own images, if there is an averaged network.

        Args:
            images: (M, 3, S, S) uint8, of training.
        """
        from mdhfl.learning.training import inputs_of

        if self.averaged is not None:
            self.averaged.renew_statistics(inputs_of(self.network, images, intensity=self.bundle.intensity_transform))

    def predict(self, images: "Tensor", *, own_statistics: bool = False, should_stop: ShouldStop = never) -> "Tensor":
        """Return the (M, C) float32 logits of (M, 3, S, S) uint8 images, on the CPU.

        Args:
            images: uint8.
            own_statistics: whether batch normalisation uses the images' own statistics, see `training.predict`.
            should_stop: asked before every batch.

        Raises:
            TrainingDiverged: an answer is NaN or infinite.
            Aborted: `should_stop` said so.
        """
        from mdhfl.learning.training import TrainingDiverged, predict

        intensity = self.bundle.intensity_transform
        logits = predict(
            self.answering,
            images=images,
            intensity=intensity,
            own_statistics=own_statistics,
            should_stop=should_stop,
        )
        if not bool(logits.isfinite().all()):
            raise TrainingDiverged("the model's answers became NaN or infinite")
        return logits

    def score(
        self, part: Part, *, own_mix: "OwnMix | None" = None, should_stop: ShouldStop = never
    ) -> tuple[Scores, NDArray[np.int64]]:
        """Return the scores on a labelled part, and the (C, C) confusion matrix, rows the true class.

        Args:
            part: images and labels.
            own_mix: what becomes of the logits, for a network that carries no prior.
            should_stop: asked before every batch.

        Raises:
            TrainingDiverged, Aborted: as `predict`.
        """
        labels = part.labels.numpy()
        probabilities = np.zeros((0, self.num_classes), dtype=np.float32)
        if len(labels):
            logits = self.predict(part.images, should_stop=should_stop)
            probabilities = (logits if own_mix is None else own_mix(logits)).softmax(dim=1).numpy()
        confusion = confusion_matrix(labels, probabilities.argmax(axis=1), classes=self.num_classes)
        return scores_from(confusion, ece=expected_calibration_error(probabilities, labels)), confusion

    def vector(self) -> NDArray[np.float32]:
        """Return the answering network's floating-point state as one (M,) vector."""
        from mdhfl.learning.parameters import flatten

        return flatten(self.answering.state_dict())

    def load_vector(self, values: NDArray[np.float32], *, layout: str, whose: str) -> None:
        """Replace the network's floating-point state; the optimiser goes on.

        Args:
            values: (M,), as `vector` gave them.
            layout: of the network that they came from.
            whose: who is loading, for the message.

        Raises:
            ValueError: the values are another network's.
        """
        from mdhfl.learning.parameters import unflatten

        if layout != self.layout:
            raise ValueError(
                f"{whose}: expected weights of layout {self.layout[:8]} ({self.bundle.name}), got {layout[:8]}; is its "
                "mdhfl, and its bundle, the same version as the others'?"
            )
        self.load_state(unflatten(values, like=self.network.state_dict()))

    def state(self) -> dict[str, Any]:
        """Return what `restore` needs to go on: the state of network, optimiser, average, and early answers, if any."""
        averaged = None if self.averaged is None else self.averaged.network.state_dict()
        return {
            "model": self.network.state_dict(),
            "optimizer": self.bundle.optimizer.state_dict(),
            "averaged": averaged,
            **({} if self.early is None else {"early": self.early.state()}),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where a model of the same bundle stood when it gave its `state`; without an optimiser's, begin anew."""
        self.load_state(state["model"])
        if state["optimizer"] is not None:
            self.bundle.optimizer.load_state_dict(dict(state["optimizer"]))
        if self.averaged is not None and state["averaged"] is not None:
            self.averaged.network.load_state_dict(dict(state["averaged"]))
        if self.early is not None and "early" in state:
            self.early.restore(state["early"])

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Replace the whole state of the network, and of its average."""
        self.network.load_state_dict(dict(state))
        if self.averaged is not None:
            self.averaged.network.load_state_dict(dict(state))
