"""What a site holds in memory while it works on one experiment, built from its settings and restored from its disk."""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from mdhfl.data import PrivateSet, image_size_of, load_private_set, load_public_set
from mdhfl.knowledge import Subject
from mdhfl.messages import Request
from mdhfl.methods import create
from mdhfl.methods.method import Method
from mdhfl.site_settings import SiteSettings
from mdhfl.state import Progress, load_progress

if TYPE_CHECKING:
    from torch import Tensor

    from mdhfl.bundle import LoadedBundle

ShouldStop = Callable[[], bool]


@dataclass(kw_only=True)
class Work:
    """Everything that a request needs; `request`, `method`, `progress`, `should_stop`, `seconds` change with it."""

    request: Request
    method: Method
    bundle: "LoadedBundle"
    private: PrivateSet
    public: "Tensor"
    folder: Path
    progress: Progress | None
    should_stop: ShouldStop
    seconds: dict[str, float] = field(default_factory=dict)


def build_work(settings: SiteSettings, request: Request, *, should_stop: ShouldStop) -> Work:
    """Build a site's network and data for an experiment, and restore its progress into them.

    Raises:
        ValueError: bundle, data or public set are not what the request is about.
        StateError: the site's state cannot be read.
    """
    import torch

    from mdhfl.bundle import load_bundle

    subject = request.subject
    image_size = image_size_of(settings.data)
    torch.manual_seed(seed_of(settings, request, "initial weights"))
    bundle = load_bundle(settings.bundle, num_classes=len(subject.classes), image_size=image_size)
    bundle.network.to(settings.device).to(memory_format=torch.channels_last)
    private = load_private_set(settings.data, decode=bundle.deterministic_transforms, image_size=image_size)
    if private.classes != subject.classes:
        raise ValueError(
            f"site {settings.site!r}: expected classes {list(subject.classes)}, its data has "
            f"{list(private.classes)}; prepare it with the federation's label space"
        )
    public, digest = load_public_set(settings.public, decode=bundle.deterministic_transforms, image_size=image_size)
    _check_public_set(subject, digest=digest, count=len(public), settings=settings)
    path = state_path(settings, request)
    progress = load_progress(path)
    if progress is not None:
        bundle.network.load_state_dict(progress.model)
        bundle.optimizer.load_state_dict(dict(progress.optimizer))
    return Work(
        request=request,
        method=create(request.method, request.parameters),
        bundle=bundle,
        private=private,
        public=public,
        folder=path.parent,
        progress=progress,
        should_stop=should_stop,
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
    text = f"{request.seed}/{settings.site}/{request.round}/{purpose}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def _check_public_set(subject: Subject, *, digest: str, count: int, settings: SiteSettings) -> None:
    if (digest, count) != (subject.public_digest, subject.public_count):
        raise ValueError(
            f"site {settings.site!r}: expected public set {subject.public_digest[:8]} of {subject.public_count} images,"
            f" got {digest[:8]} of {count} in {settings.public}; copy the federation's public folder to the site"
        )
