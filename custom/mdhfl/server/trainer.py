"""The server that trains, for FedDF: it builds the sites' networks, and distils all of them into each average."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mdhfl.learning.device import why_missing
from mdhfl.learning.images import Part, classes_of, image_size_of, load_labelled_part, load_public_set
from mdhfl.learning.model import Model
from mdhfl.methods.feddf import FedDf
from mdhfl.rounds.experiment import Experiment
from mdhfl.seeds import seed_from
from mdhfl.server.settings import ServerSettings, read_server_settings
from mdhfl.sharing.checks import MessageError
from mdhfl.sharing.limits import LARGEST_LOGIT
from mdhfl.sharing.weights import Merged, Weights, layouts_of

if TYPE_CHECKING:
    from torch import Tensor


def trainer_from(path: Path, *, experiment: Experiment) -> "Callable[[], ServerTrainer]":
    """Return what opens the server's trainer, once, from its server.json, for the methods whose server trains."""
    return cache(lambda: ServerTrainer(read_server_settings(path), experiment=experiment))


@dataclass(frozen=True, kw_only=True)
class _Images:
    public: "Tensor"
    validation: Part


class ServerTrainer:
    """Public images, a validation part and one network for each bundle, in memory from the first use."""

    def __init__(self, settings: ServerSettings, *, experiment: Experiment) -> None:
        if settings.public is None or settings.validation is None:
            raise ValueError(
                "server.json: this method trains at the server, expected public, validation, bundles, device and "
                "threads, got none of them; docs/operator.md shows them"
            )
        if why := why_missing(settings.device):
            raise ValueError(f"server.json: {why}")
        self._public, self._validation = settings.public, settings.validation
        self.settings = settings
        self.experiment = experiment
        self._answers: dict[str, tuple[Weights, Tensor]] = {}

    def try_out(self, weights: Weights) -> None:
        """Let a site's model answer the public images, and keep the answers for `distil`.

        Raises:
            MessageError: its bundle is not among the server's, or builds another network; NaN or infinite answers.
            ValueError: the server's own images are not those of the experiment.
        """
        with self._at_work():
            assert self._images  # what is wrong with the server's own files is no site's fault
            try:
                self._answers[weights.site] = weights, self._logits(weights)
            except (ValueError, RuntimeError) as error:
                raise MessageError(f"weights from site {weights.site!r}: {error}") from error

    def distil(
        self, averages: Mapping[str, Merged], *, teachers: Mapping[str, Weights], settings: FedDf
    ) -> dict[str, Merged]:
        """Train the average of each layout on the mean logits of all teachers to the public images.

        Args:
            averages: layout -> average of its sites' models.
            teachers: site -> its model.
            settings: the method's hyper-parameters.

        Returns:
            Layout -> the model with the best accuracy on the validation part, the average itself included.

        Raises:
            ValueError: as `try_out`.
        """
        import torch

        with self._at_work():
            teacher = torch.stack([self._answers_of(weights) for _, weights in sorted(teachers.items())]).mean(dim=0)
            return {
                layout: self._distil(averages[layout], teachers[sites[0]].bundle, teacher=teacher, settings=settings)
                for layout, sites in sorted(layouts_of(teachers).items())
            }

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        import torch

        if torch.get_num_threads() != self.settings.threads:
            torch.set_num_threads(self.settings.threads)
        with torch.random.fork_rng(devices=[]):
            yield

    def _answers_of(self, weights: Weights) -> "Tensor":
        """Return a site's logits; those of a round before a restart are not kept."""
        tried, logits = self._answers.pop(weights.site, (None, None))
        return logits if logits is not None and tried is weights else self._logits(weights)

    def _logits(self, weights: Weights) -> "Tensor":
        model = self._model(weights.bundle)
        model.load_vector(weights.values, layout=weights.layout, whose="server")
        return model.predict(self._images.public).clamp(-LARGEST_LOGIT, LARGEST_LOGIT)

    def _distil(self, average: Merged, bundle_name: str, *, teacher: "Tensor", settings: FedDf) -> Merged:
        import torch

        from mdhfl.server.distillation import distil

        model = self._model(bundle_name)
        model.load_vector(average.values, layout=average.layout, whose="server")
        seed = seed_from(self.experiment.seed, "server", average.round, average.layout)
        torch.manual_seed(seed)  # dropout
        best = distil(
            model.network,
            images=self._images.public,
            teacher=teacher,
            validation=self._images.validation,
            settings=settings,
            intensity=model.bundle.intensity_transform,
            generator=torch.Generator().manual_seed(seed),
        )
        model.load_state(best)
        values = model.vector()
        return replace(average, values=values) if np.isfinite(values).all() else average

    @cached_property
    def _models(self) -> dict[str, Model]:
        size, classes = image_size_of(self._public), len(self.experiment.classes)
        loaded = [
            Model.open(name, num_classes=classes, image_size=size, device=self.settings.device)
            for name in self.settings.bundles
        ]
        return {model.bundle.name: model for model in loaded}

    def _model(self, name: str) -> Model:
        if name not in self._models:
            raise ValueError(
                f"server: expected a bundle among {', '.join(self._models)}, a site has {name!r}; add it to the "
                '"bundles" of server.json'
            )
        return self._models[name]

    @cached_property
    def _images(self) -> _Images:
        how = next(iter(self._models.values())).how_to_read()  # any: digests hold all to the same pixels
        public, digest = load_public_set(self._public, **how)
        if digest != self.experiment.public_digest:
            raise ValueError(
                f"server: expected public set {self.experiment.public_digest[:8]}, got {digest[:8]} in "
                f"{self._public}; copy the federation's public folder to the server"
            )
        classes = classes_of(self._validation)
        if classes != self.experiment.classes:
            raise ValueError(
                f"server: expected classes {list(self.experiment.classes)}, its validation part has {list(classes)} in "
                f"{self._validation}; copy the federation's server folder to the server"
            )
        return _Images(public=public, validation=load_labelled_part(self._validation, "validation", **how))
