"""The server that trains, for FedDF: it builds the sites' networks, and distils all of them into each average."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from mdhfl.learning.cache import how_to_read
from mdhfl.learning.images import Part, classes_of, image_size_of, load_labelled_part, load_public_set
from mdhfl.methods.feddf import FedDf
from mdhfl.methods.method import Desk
from mdhfl.rounds.experiment import Experiment
from mdhfl.seeds import seed_from
from mdhfl.server.settings import ServerSettings, read_server_settings
from mdhfl.sharing.weights import Merged, Weights, layouts_of

if TYPE_CHECKING:
    from torch import Tensor, nn

    from mdhfl.learning.bundle import LoadedBundle


def open_desk(path: Path, *, experiment: Experiment) -> Desk | None:
    """Return the desk of a method whose server trains, from its server.json; None for every other method."""
    if not experiment.create_method().needs_desk:
        return None
    return ServerDesk(read_server_settings(path), experiment=experiment)


@dataclass(frozen=True, kw_only=True)
class _Images:
    public: "Tensor"
    validation: Part


class ServerDesk:
    """Public images, a validation part and one network for each bundle, in memory from the first use."""

    def __init__(self, settings: ServerSettings, *, experiment: Experiment) -> None:
        self.settings = settings
        self.experiment = experiment

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
            ValueError: a site's bundle is not among the server's, or builds another network.
        """
        import torch

        if torch.get_num_threads() != self.settings.threads:
            torch.set_num_threads(self.settings.threads)
        with torch.random.fork_rng(devices=[]):
            teacher = torch.stack([self._logits(weights) for _, weights in sorted(teachers.items())]).mean(dim=0)
            return {
                layout: self._distil(averages[layout], teachers[sites[0]].bundle, teacher=teacher, settings=settings)
                for layout, sites in sorted(layouts_of(teachers).items())
            }

    def _logits(self, weights: Weights) -> "Tensor":
        from mdhfl.learning.training import predict

        bundle = self._bundle(weights.bundle)
        self._load(bundle.network, weights)
        return predict(bundle.network, images=self._images.public, intensity=bundle.intensity_transform)

    def _distil(self, average: Merged, bundle_name: str, *, teacher: "Tensor", settings: FedDf) -> Merged:
        import torch

        from mdhfl.learning.parameters import flatten
        from mdhfl.server.distillation import distil

        bundle = self._bundle(bundle_name)
        self._load(bundle.network, average)
        seed = seed_from(self.experiment.seed, "server", average.round, average.layout)
        torch.manual_seed(seed)  # dropout
        best = distil(
            bundle.network,
            images=self._images.public,
            teacher=teacher,
            validation=self._images.validation,
            settings=settings,
            intensity=bundle.intensity_transform,
            generator=torch.Generator().manual_seed(seed),
        )
        return Merged(values=flatten(best), layout=average.layout, round=average.round)

    def _load(self, network: "nn.Module", weights: Weights | Merged) -> None:
        from mdhfl.learning.parameters import layout_of, unflatten

        state = network.state_dict()
        if layout_of(state) != weights.layout:
            raise ValueError(
                f"server: expected weights of layout {layout_of(state)[:8]}, got {weights.layout[:8]}; is the site's "
                "bundle the same version as the server's?"
            )
        network.load_state_dict(unflatten(weights.values, like=state))

    @cached_property
    def _bundles(self) -> "dict[str, LoadedBundle]":
        import torch

        from mdhfl.learning.bundle import load_bundle

        size = image_size_of(self.settings.public)
        classes = len(self.experiment.classes)
        loaded = [load_bundle(name, num_classes=classes, image_size=size) for name in self.settings.bundles]
        for bundle in loaded:
            bundle.network.to(self.settings.device).to(memory_format=torch.channels_last)
        return {bundle.name: bundle for bundle in loaded}

    def _bundle(self, name: str) -> "LoadedBundle":
        if name not in self._bundles:
            raise ValueError(
                f"server: expected a bundle among {', '.join(self._bundles)}, a site has {name!r}; add it to the "
                '"bundles" of server.json'
            )
        return self._bundles[name]

    @cached_property
    def _images(self) -> _Images:
        bundle = next(iter(self._bundles.values()))  # any: `data.py` holds what each decodes to the same digests
        how = how_to_read(bundle, image_size=image_size_of(self.settings.public), cache=None)
        public, digest = load_public_set(self.settings.public, **how)
        if digest != self.experiment.public_digest:
            raise ValueError(
                f"server: expected public set {self.experiment.public_digest[:8]}, got {digest[:8]} in "
                f"{self.settings.public}; copy the federation's public folder to the server"
            )
        classes = classes_of(self.settings.validation)
        if classes != self.experiment.classes:
            raise ValueError(
                f"server: expected classes {list(self.experiment.classes)}, its validation part has {list(classes)} in "
                f"{self.settings.validation}; copy the federation's server folder to the server"
            )
        return _Images(public=public, validation=load_labelled_part(self.settings.validation, "validation", **how))
