"""What an answer of a site may look like: from its own settings, data, public set and network, never from an answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from mdhfl import __version__
from mdhfl.digests import list_digest
from mdhfl.learning.images import classes_of, image_size_of, read_listed
from mdhfl.learning.model import Model
from mdhfl.methods import KnowledgeMethod, create
from mdhfl.sharing.competence import DOUBT
from mdhfl.sharing.knowledge import Subject
from mdhfl.sharing.messages import Request
from mdhfl.sharing.reasons import Refusal
from mdhfl.sharing.records import Shared
from mdhfl.sharing.turns import MergeTurn
from mdhfl.site.allowed import check_allowed, check_defences
from mdhfl.site.public import public_folder
from mdhfl.site.settings import SiteSettings


@dataclass(frozen=True, kw_only=True)
class Network:
    """A bundle's network, as far as others are told about it.

    Attributes:
        bundle: the bundle's name.
        architecture: for people.
        parameters: how many it has.
        layout: of its weights, see `Weights`.
        length: M, of the vector of its weights.
    """

    bundle: str
    architecture: str
    parameters: int
    layout: str
    length: int


@dataclass(frozen=True, kw_only=True)
class Form:
    """What an answer to one request may hold.

    Attributes:
        settings: the site's.
        request: that is answered.
        shares: the kind of share that the method has and the site allows; None for nothing.
        subject: what knowledge must be about.
        network: the site's own.
        summands: (rows, C) of what the site adds to a blind sum.
        shared: the network whose weights are shared: the site's own, or its proxy.
        training: number of training images.
        validation: number of validation images.
        test: (C,) numbers of test images by class.
        missing: classes with too few training images to be told apart from none.
    """

    settings: SiteSettings
    request: Request
    shares: type[Shared] | None
    subject: Subject
    summands: tuple[int, int]
    network: Network
    shared: Network
    training: int
    validation: int
    test: tuple[int, ...]
    missing: tuple[str, ...]

    @property
    def names(self) -> set[str]:
        """The names that a refusal may hold."""
        return names_of(self.settings, self.request)

    @property
    def leaders(self) -> set[str]:
        """Who may have led the merge that the round began with; "" for nobody."""
        lesson = self.request.lesson
        return {"", *(lesson.commitments if isinstance(lesson, MergeTurn) else ())}

    @property
    def least_competence(self) -> float:
        """The competence of a class with as few images as the site tells."""
        return least_competence(self.settings)

    @property
    def budget(self) -> int:
        """How many bytes an answer has at most: its arrays, its names, and a few hundred numbers."""
        classes = len(self.subject.classes)
        rows = self.subject.shape[0] * classes * 4 if self.shares else 0
        weights = self.shared.length * 4 if self.shares else 0
        named = sum(6 * len(name) + 4 for name in self.subject.classes)  # a character takes up to 6 in JSON
        return max(rows, weights) + 4 * classes + 2 * 8 * classes**2 + 2 * named + PLAIN


PLAIN = 4096  # bytes of an answer's plain values, without names of classes


def form_of(settings: SiteSettings, request: Request) -> Form:
    """Return what an answer to a request may hold.

    Raises:
        Refusal: the site may not share anything with this method, or has too little data to share anything.
        ValueError, OSError: its data, public set or bundle cannot be read.
    """
    method = create(request.method, request.parameters, trusted=settings.methods)
    check_allowed(settings, method)
    items, classes = read_listed(settings.data / "datalist.json"), classes_of(settings.data)
    check_defences(settings, method, classes=len(classes))
    public = read_listed(public_folder(settings, request.subject) / "datalist.json")["public"]
    training = [item["label"] for item in items["training"]]
    check_enough(settings, labels=training, classes=len(classes))
    size, proxy = image_size_of(settings.data), method.proxy_bundle()
    own = _network(settings.bundle, len(classes), size)
    subject = Subject(
        kind=method.knowledge_kind,
        public_digest=list_digest(item["digest"] for item in public),
        public_count=len(public),
        classes=classes,
        views=method.question_views(),
    )
    return Form(
        settings=settings,
        request=request,
        shares=method.answer_kind(),
        subject=subject,
        summands=method.summand_shape(subject) if isinstance(method, KnowledgeMethod) else subject.shape,
        network=own,
        shared=own if proxy is None else _network(proxy, len(classes), size),
        training=len(training),
        validation=len(items["validation"]),
        test=tuple(_counts([item["label"] for item in items["test"]], classes=len(classes))),
        missing=() if settings.privacy else missing_classes(settings, classes=classes),
    )


def names_of(settings: SiteSettings, request: Request | None) -> set[str]:
    """Return the names that a site's refusal may hold: they are known to whoever asks, or say which version it runs."""
    names = {settings.site, __version__}
    if request is not None:
        try:
            permission = create(request.method, request.parameters, trusted=settings.methods).needs()
        except (ValueError, TypeError):
            return names
        names |= {permission} if permission else set()
    return names


def check_enough(settings: SiteSettings, *, labels: Sequence[int], classes: int) -> None:
    """Refuse to share anything from too few images, or from images of too few classes: they could be guessed.

    Args:
        settings: the site's.
        labels: of its training images.
        classes: C.

    Raises:
        Refusal: with the numbers, which stay at the site.
    """
    if len(labels) < settings.minimum_images:
        raise Refusal(
            "too_few_images",
            f"{settings.data}: expected at least {settings.minimum_images} training images (minimum_images in "
            f"site.json), got {len(labels)}",
        )
    present = sum(count >= settings.smallest_count for count in _counts(labels, classes=classes))
    if present < settings.minimum_classes:
        raise Refusal(
            "too_few_classes",
            f"{settings.data}: expected at least {settings.minimum_classes} classes (minimum_classes in site.json) "
            f"with {settings.smallest_count} training images each (smallest_count), got {present}",
        )


def missing_classes(settings: SiteSettings, *, classes: Sequence[str]) -> tuple[str, ...]:
    """Return the classes that a site says it lacks: without a training image, or with fewer than it tells."""
    card: Mapping[str, Any] = read_listed(settings.data / "card.json")
    counts, lacking = card["counts"]["training"], card.get("missing_classes", ())
    return tuple(c for c in classes if c in lacking or counts.get(c, 0) < settings.smallest_count)


def least_competence(settings: SiteSettings) -> float:
    """Return the competence of a class of which so few images are recognised as the site tells, and no fewer."""
    return round(settings.smallest_count / (settings.smallest_count + DOUBT), 2)


def _counts(labels: Sequence[int], *, classes: int) -> list[int]:
    counts = [0] * classes
    for label in labels:
        counts[label] += 1
    return counts


@lru_cache(maxsize=64)
def _network(bundle: str, classes: int, size: int) -> Network:
    """Build a bundle's network once, to see what its weights look like."""
    import torch

    with torch.random.fork_rng(devices=[]):
        model = Model.open(bundle, num_classes=classes, image_size=size)
    return Network(
        bundle=model.bundle.name,
        architecture=model.bundle.architecture,
        parameters=model.bundle.parameters,
        layout=model.layout,
        length=len(model.vector()),
    )
