"""What a site holds in memory while it works on one experiment, built from its settings and restored from its disk."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mdhfl.learning.cache import ImageCache, how_to_read
from mdhfl.learning.images import Part, PrivateSet, image_size_of, load_private_set, load_public_set
from mdhfl.methods import create
from mdhfl.methods.method import Method
from mdhfl.seeds import seed_from
from mdhfl.sharing.knowledge import Subject
from mdhfl.sharing.messages import Request
from mdhfl.site.settings import SiteSettings
from mdhfl.site.state import Progress, load_progress
from mdhfl.swarm.peers import Peers

if TYPE_CHECKING:
    from torch import Tensor

    from mdhfl.learning.bundle import LoadedBundle
    from mdhfl.swarm.member import Swarm

ShouldStop = Callable[[], bool]


@dataclass(kw_only=True)
class Work:
    """Everything that a request needs; `request`, `method`, `progress`, `should_stop`, `seconds` change with it.

    Attributes:
        settings: the site's.
        pool: the training images of all sites, for centralised training only.
        layout: of the network's weights, see `Weights`.
        swarm: this site's part in a swarm, if the method is one.
    """

    settings: SiteSettings
    request: Request
    method: Method
    bundle: "LoadedBundle"
    private: PrivateSet
    public: "Tensor"
    folder: Path
    progress: Progress | None
    should_stop: ShouldStop
    layout: str
    pool: Part | None = None
    swarm: "Swarm | None" = None
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What a site has beyond its own settings, given by the engine.

    Attributes:
        peers: how it reaches the other sites.
        cache: decoded images on disk, shared by the runs on one federation.
        pool: the folders of all sites' data, where all sites are simulated in one process; else empty.
    """

    peers: Peers
    cache: ImageCache | None = None
    pool: tuple[Path, ...] = ()


def build_work(
    settings: SiteSettings, request: Request, *, should_stop: ShouldStop, surroundings: Surroundings
) -> Work:
    """Build a site's network and data for an experiment, and restore its progress into them.

    Raises:
        ValueError: bundle, data or public set are not what the request is about.
        StateError: the site's state cannot be read.
    """
    import torch

    from mdhfl.learning.bundle import load_bundle
    from mdhfl.learning.parameters import layout_of

    subject, method = request.subject, create(request.method, request.parameters)
    image_size = image_size_of(settings.data)
    torch.manual_seed(_initial_seed(settings, request, method))
    bundle = load_bundle(settings.bundle, num_classes=len(subject.classes), image_size=image_size)
    bundle.network.to(settings.device).to(memory_format=torch.channels_last)
    how = how_to_read(bundle, image_size=image_size, cache=surroundings.cache)
    private = load_private_set(settings.data, **how)
    if private.classes != subject.classes:
        raise ValueError(
            f"site {settings.site!r}: expected classes {list(subject.classes)}, its data has "
            f"{list(private.classes)}; prepare it with the federation's label space"
        )
    public, digest = load_public_set(settings.public, **how)
    _check_public_set(subject, digest=digest, count=len(public), settings=settings)
    path = state_path(settings, request)
    progress = load_progress(path)
    if progress is not None:
        bundle.network.load_state_dict(progress.model)
        bundle.optimizer.load_state_dict(dict(progress.optimizer))
    return Work(
        settings=settings,
        request=request,
        method=method,
        bundle=bundle,
        private=private,
        public=public,
        folder=path.parent,
        progress=progress,
        should_stop=should_stop,
        layout=layout_of(bundle.network.state_dict()),
        pool=_pool(surroundings, settings, how) if method.pools else None,
        swarm=_swarm(settings, request, method, surroundings=surroundings, folder=path.parent),
    )


def state_path(settings: SiteSettings, request: Request) -> Path:
    """Return where a site keeps its progress in an experiment.

    Raises:
        ValueError: the experiment's id is not a plain name; a server must not choose a folder at a site.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", request.experiment):
        raise ValueError(
            f"site {settings.site!r}: experiment {request.experiment!r}: expected letters, digits, dots, hyphens and "
            "underscores, beginning with a letter or digit"
        )
    return settings.state / request.experiment / "state.pt"


def seed_of(settings: SiteSettings, request: Request, purpose: str) -> int:
    """Return a seed in [0, 2**63) that depends on nothing but experiment seed, site, round and purpose."""
    return seed_from(request.seed, settings.site, request.round, purpose)


def _initial_seed(settings: SiteSettings, request: Request, method: Method) -> int:
    """Return the seed of the initial weights: where models are merged, the same at all sites."""
    if method.merges:
        return seed_from(request.seed, "initial weights")
    return seed_of(settings, request, "initial weights")


def _pool(surroundings: Surroundings, settings: SiteSettings, how: dict[str, Any]) -> Part:
    import torch

    if not surroundings.pool:
        raise ValueError(
            f"site {settings.site!r}: centralised training sees all sites' images, which no federation may; it runs in "
            "one process only (--engine inprocess)"
        )
    parts = [load_private_set(folder, **how).training for folder in surroundings.pool]
    return Part(images=torch.cat([p.images for p in parts]), labels=torch.cat([p.labels for p in parts]))


def _swarm(
    settings: SiteSettings, request: Request, method: Method, *, surroundings: Surroundings, folder: Path
) -> "Swarm | None":
    if not method.led:
        return None
    from mdhfl.swarm.member import Swarm

    return Swarm(
        site=settings.site,
        experiment=request.experiment,
        folder=folder,
        peers=surroundings.peers,
        encrypted=method.permission == "encrypted_weights",
    )


def _check_public_set(subject: Subject, *, digest: str, count: int, settings: SiteSettings) -> None:
    if (digest, count) != (subject.public_digest, subject.public_count):
        raise ValueError(
            f"site {settings.site!r}: expected public set {subject.public_digest[:8]} of {subject.public_count} images,"
            f" got {digest[:8]} of {count} in {settings.public}; copy the federation's public folder to the site"
        )
