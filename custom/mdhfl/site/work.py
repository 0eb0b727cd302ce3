"""What a site holds in memory while it works on one experiment, built from its settings and restored from its disk."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from mdhfl.files import plain_name
from mdhfl.learning.bundle import built_in_bundles
from mdhfl.learning.cache import ImageCache
from mdhfl.learning.device import why_missing
from mdhfl.learning.images import DataError, Part, PrivateSet, image_size_of, load_private_set, load_public_set
from mdhfl.learning.model import Model
from mdhfl.methods import Method
from mdhfl.seeds import seed_from
from mdhfl.sharing.accounts import About
from mdhfl.sharing.knowledge import Subject
from mdhfl.sharing.messages import Request
from mdhfl.sharing.reasons import Refusal
from mdhfl.site.budget import Plan
from mdhfl.site.form import check_enough
from mdhfl.site.privately import begin_privately
from mdhfl.site.public import PublicHost, public_folder
from mdhfl.site.settings import SiteSettings
from mdhfl.swarm.peers import Peers

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What a site has beyond its own settings, given by the engine.

    Attributes:
        peers: how it reaches the other sites.
        host: how it asks the server for its public set; None where no server has one.
        cache: decoded images on disk, shared by the runs on one federation.
        pool: the folders of all sites' data, where all sites are simulated in one process; else empty.
    """

    peers: Peers
    host: PublicHost | None = None
    cache: ImageCache | None = None
    pool: tuple[Path, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A site's part in one experiment, opened: images, network, folder.

    Attributes:
        settings: the site's.
        model: its network, which learns.
        private: its labelled images.
        training: what it draws training batches from: its own images, or those of all sites (centralised).
        public: (N, 3, S, S) uint8, the public images.
        folder: of its state in this experiment.
        twin: a model from the same start that learns from nobody, if the method wants one to compare with.
        proxy: a second model, of the same bundle at every site, if the method shares one instead.
        plan: what the experiment may spend of the site's privacy budget; None for a site without one.
    """

    settings: SiteSettings
    model: Model
    private: PrivateSet
    training: Part
    public: "Tensor"
    folder: Path
    twin: Model | None = None
    proxy: Model | None = None
    plan: Plan | None = None

    @property
    def shared(self) -> Model:
        """The model whose weights a method shares."""
        return self.proxy or self.model

    def models(self) -> dict[str, Model]:
        """Return all models by name: those whose state is kept."""
        found = {"model": self.model, "twin": self.twin, "proxy": self.proxy}
        return {name: model for name, model in found.items() if model is not None}

    def public_in_own_stain(self) -> "Tensor":
        """Return the public images in the stain of the site's own training images; computed once."""
        return self._restained

    @cached_property
    def _restained(self) -> "Tensor":
        import torch

        from mdhfl.learning.stain import restained, stain_of

        stain = stain_of(self.private.training.images.numpy())
        return torch.from_numpy(restained(self.public.numpy(), to=stain))

    def open_another(self) -> Model:
        """Return another model of the same bundle, with weights drawn from torch's generator as it stands."""
        model = self.model
        return Model.open(
            self.settings.bundle,
            num_classes=model.num_classes,
            image_size=model.image_size,
            device=self.settings.device,
            weights=self.settings.weights,
            changes=self.settings.bundle_changes,
        )


def open_site(settings: SiteSettings, request: Request, method: Method, *, surroundings: Surroundings) -> Opened:
    """Build a site's network and read its images for an experiment.

    Raises:
        ValueError: bundle, data or public set are not what the request is about.
    """
    subject, common = request.subject, seed_from(request.seed, "initial weights")
    seed = method.initial_seed(common=common, own=seed_of(settings, request, "initial weights"))

    size = image_size_of(settings.data)
    if why := why_missing(settings.device):
        raise Refusal("device", f"site {settings.site!r}: {why}")

    def opened() -> Model:
        return Model.open(
            settings.bundle,
            num_classes=len(subject.classes),
            image_size=size,
            device=settings.device,
            seed=seed,
            averaging=method.average_decay(),
            weights=settings.weights,
            changes=settings.bundle_changes,
        )

    def holding_on(model: Model, part: Part) -> Model:
        if not method.early_learning():
            return model
        from mdhfl.learning.early_learning import EarlyAnswers

        answers = EarlyAnswers(images=len(part.labels), classes=model.num_classes, device=settings.device)
        return replace(model, early=answers)

    model, proxy = opened(), method.proxy_bundle()
    how = model.how_to_read(cache=surroundings.cache)
    private = load_private_set(settings.data, **how)
    check_enough(settings, labels=private.training.labels.tolist(), classes=len(private.classes))
    if private.classes != subject.classes:
        raise Refusal(
            "classes_differ",
            f"site {settings.site!r}: expected classes {list(subject.classes)}, its data has "
            f"{list(private.classes)}; prepare it with the federation's label space",
        )
    folder = public_folder(settings, subject)
    try:
        public, digest = load_public_set(folder, **how)
    except DataError as error:
        code = "public_images" if settings.public is not None else "public_offer"
        raise Refusal(code, str(error), expected=subject.public_digest[:8]) from error
    _check_public_set(subject, digest=digest, count=len(public), folder=folder, site=settings.site)
    training = method.training_images(private.training, pooled=_pooled(surroundings, settings, model))
    return Opened(
        settings=settings,
        model=holding_on(model, training),
        private=private,
        training=training,
        public=public,
        folder=state_folder(settings, request),
        twin=holding_on(opened(), training) if method.trains_twin() else None,
        proxy=_open_proxy(proxy, model, settings=settings, seed=common) if proxy else None,
        plan=begin_privately(settings, request, method, model=model, images=len(private.training.labels)),
    )


def _open_proxy(bundle: str, model: Model, *, settings: SiteSettings, seed: int) -> Model:
    """Return the second network: a built-in bundle, since no job may name code, from the same start at every site."""
    if bundle not in built_in_bundles():
        raise ValueError(f"site {settings.site!r}: a proxy must be a built-in bundle, got {bundle!r}")
    return Model.open(
        bundle,
        num_classes=model.num_classes,
        image_size=model.image_size,
        device=settings.device,
        seed=seed,
        changes=settings.bundle_changes,
    )


def about_of(opened: Opened, *, withheld: Iterable[str]) -> About:
    """Return what a site's answer tells of it, before its border takes away what it does not tell.

    Args:
        opened: images and network.
        withheld: what was asked for and not said.
    """
    bundle, private = opened.model.bundle, opened.private
    return About(
        bundle=bundle.name,
        architecture=bundle.architecture,
        parameters=bundle.parameters,
        training_images=len(private.training.labels),
        missing_classes=private.missing_classes,
        layout=opened.model.layout,
        withheld=tuple(sorted(withheld)),
    )


def state_folder(settings: SiteSettings, request: Request) -> Path:
    """Return the folder in which a site keeps its state in an experiment.

    Raises:
        Refusal: the experiment's id is not a plain name; a server must not choose a folder at a site.
    """
    try:
        name = plain_name(request.experiment, what=f"site {settings.site!r}: experiment")
    except ValueError as error:
        raise Refusal("request", str(error)) from error
    return settings.state / name


def seed_of(settings: SiteSettings, request: Request, purpose: str) -> int:
    """Return a seed in [0, 2**63) that depends on nothing but experiment seed, site, round and purpose."""
    return seed_from(request.seed, settings.site, request.round, purpose)


def _pooled(surroundings: Surroundings, settings: SiteSettings, model: Model) -> Callable[[], Part]:
    """Return what reads the training images of all sites, where there is one process for all of them."""

    def read() -> Part:
        import torch

        if not surroundings.pool:
            raise Refusal(
                "method_needs_all",
                f"site {settings.site!r}: this method pools all sites' images; only --engine inprocess can run it",
            )
        how = model.how_to_read(cache=surroundings.cache)
        parts = [load_private_set(folder, **how).training for folder in surroundings.pool]
        return Part(images=torch.cat([p.images for p in parts]), labels=torch.cat([p.labels for p in parts]))

    return read


def _check_public_set(subject: Subject, *, digest: str, count: int, folder: Path, site: str) -> None:
    if (digest, count) != (subject.public_digest, subject.public_count):
        raise Refusal(
            "public_set_differs",
            f"site {site!r}: expected public set {subject.public_digest[:8]} of {subject.public_count} images,"
            f" got {digest[:8]} of {count} in {folder}; copy the federation's public folder to the site",
            expected=subject.public_digest[:8],
            got=digest[:8],
        )
