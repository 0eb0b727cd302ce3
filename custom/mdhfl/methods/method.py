"""What every method is: a frozen record of hyper-parameters and a few pure functions.

A method says what a site shares, how the server teaches, and which losses a site uses. It never sees the wire, a file
or an image. Functions that need torch import it when called: the server calls none of them, except for FedDF.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from mdhfl.sharing.knowledge import Kind, Knowledge
from mdhfl.sharing.teaching import Teaching, weighted_sum
from mdhfl.sharing.turns import Turn
from mdhfl.sharing.weights import Merged, Weights, layouts_of, mean_by_layout

if TYPE_CHECKING:
    from torch import Tensor, nn

Shares = Literal["probabilities", "logits", "weights", "peer weights", "encrypted peer weights"]
Permission = Literal["knowledge", "weights", "encrypted_weights"]  # what a site's IT allows in site.json
Shared = Knowledge | Weights
Lesson = Teaching | Merged | Turn  # what a site is sent: what to learn from, what to adopt, or who has it

PERMISSIONS: Mapping[Shares, Permission] = {
    "probabilities": "knowledge",
    "logits": "knowledge",
    "weights": "weights",
    "peer weights": "weights",
    "encrypted peer weights": "encrypted_weights",
}


class Desk(Protocol):
    """What a server that trains has: the public images, a labelled validation part and the bundles (FedDF only)."""

    def distil(
        self, averages: Mapping[str, Merged], *, teachers: Mapping[str, Weights], settings: Any
    ) -> dict[str, Merged]:
        """Train the average of each layout on the mean answer of all teachers to the public images."""


@dataclass(frozen=True, kw_only=True)
class Method(ABC):
    """Hyper-parameters that every method has.

    Attributes:
        warm_up_epochs: epochs of local training before the first alignment, at least 0.
        local_epochs: epochs over the private training images in each round, at least 0.
    """

    warm_up_epochs: int
    local_epochs: int

    shares: ClassVar[Shares | None] = None  # what leaves a site, None if nothing does
    merges: ClassVar[bool] = False  # models are replaced by a merged one: a common start, and a last round to adopt it
    needs_desk: ClassVar[bool] = False  # the server itself trains
    pools: ClassVar[bool] = False  # trains on all sites' images: in one process only

    def __post_init__(self) -> None:
        for name in ("warm_up_epochs", "local_epochs"):
            require(name, getattr(self, name), at_least=0)

    @property
    def led(self) -> bool:
        """Whether a leader among the sites merges, and the server sees nothing."""
        return self.shares in ("peer weights", "encrypted peer weights")

    @property
    def permission(self) -> Permission | None:
        """What a site must allow before it takes part, None if nothing leaves it."""
        return None if self.shares is None else PERMISSIONS[self.shares]

    @abstractmethod
    def training_loss(self, logits: "Tensor", labels: "Tensor") -> "Tensor":
        """Return the local loss of (B, C) logits against (B,) possibly wrong labels, mean over the batch."""

    def penalty(self, network: "nn.Module") -> "Callable[[], Tensor] | None":
        """Return what is added to the local loss at every step, made from the network as a phase begins."""
        return None

    def confidence(self, *, before: float | None, now: float | None) -> float:
        """Return what a site reports beside its knowledge, from its local losses of the last round and this one."""
        return 1.0

    def teach(
        self, shared: Mapping[str, Any], *, sites: Sequence[str], desk: Desk | None = None
    ) -> Mapping[str, Lesson]:
        """Combine at the server what the sites shared, checked, into a lesson for each site; none where it is absent.

        One object for several sites is sent as one broadcast.
        """
        return {}

    def check_federation(self, *, bundles: Mapping[str, str], validation: int) -> None:  # noqa: B027
        """Refuse a federation that the method cannot work on, before anything starts.

        Args:
            bundles: site -> its bundle.
            validation: number of labelled images at the server.

        Raises:
            ValueError: in one line, with the way out.
        """


@dataclass(frozen=True, kw_only=True)
class KnowledgeMethod(Method):
    """A method whose sites share knowledge and align to a teacher.

    Attributes:
        align_epochs: epochs over the public images in each round, at least 1.
    """

    align_epochs: int

    def __post_init__(self) -> None:
        super().__post_init__()
        require("align_epochs", self.align_epochs, at_least=1)

    def teach(
        self, shared: Mapping[str, Any], *, sites: Sequence[str], desk: Desk | None = None
    ) -> Mapping[str, Lesson]:
        if not shared:
            return {}
        return dict.fromkeys(sites, weighted_sum(shared, weights=self.teacher_weights(shared)))

    def teacher_weights(self, shared: Mapping[str, Knowledge]) -> dict[str, float]:
        """Return how much each site's knowledge counts in the sum that is sent to everybody, above 0."""
        return dict.fromkeys(shared, 1.0)

    @abstractmethod
    def express(self, logits: "Tensor") -> "Tensor":
        """Turn (B, C) logits on public images into what the site shares."""

    @abstractmethod
    def teacher(self, teaching: Teaching, *, own: Knowledge | None, site: str) -> NDArray[np.float32] | None:
        """Return the (N, C) knowledge that a site learns from, None if nobody else taught."""

    @abstractmethod
    def alignment_loss(self, logits: "Tensor", teacher: "Tensor") -> "Tensor":
        """Return the loss of (B, C) logits against (B, C) rows of the teacher, mean over the batch."""


@dataclass(frozen=True, kw_only=True)
class WeightsMethod(Method):
    """A method whose sites share their weights and adopt the mean of all that have the same layout.

    Attributes:
        grouped: whether sites may differ in architecture; then each architecture is averaged by itself.
    """

    grouped: bool

    shares: ClassVar[Shares | None] = "weights"
    merges: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.grouped, bool):
            raise ValueError(f"grouped: expected true or false, got {self.grouped!r}")

    def training_loss(self, logits: "Tensor", labels: "Tensor") -> "Tensor":
        from torch.nn import functional as F

        return F.cross_entropy(logits, labels)

    def teach(
        self, shared: Mapping[str, Any], *, sites: Sequence[str], desk: Desk | None = None
    ) -> Mapping[str, Lesson]:
        groups = layouts_of(shared)
        if len(groups) > 1 and not self.grouped:
            raise ValueError(_other_architectures(type(self).__name__, [", ".join(g) for g in groups.values()]))
        return to_their_sites(mean_by_layout(shared), shared=shared, sites=sites)

    def check_federation(self, *, bundles: Mapping[str, str], validation: int) -> None:
        if len(set(bundles.values())) > 1 and not self.grouped:
            raise ValueError(_other_architectures(type(self).__name__, sorted(set(bundles.values()))))


def to_their_sites(
    merged: Mapping[str, Merged], *, shared: Mapping[str, Weights], sites: Sequence[str]
) -> dict[str, Lesson]:
    """Give each site the merged model of its layout; a site that missed the round gets it if there is only one."""
    lessons: dict[str, Lesson] = {site: merged[weights.layout] for site, weights in shared.items()}
    if len(merged) == 1:
        return dict.fromkeys(sites, next(iter(merged.values())))
    return lessons


def _other_architectures(method: str, groups: Sequence[str]) -> str:
    return (
        f"{method} averages weights: expected one architecture, got {len(groups)} ({'; '.join(groups)}); give all "
        "sites one bundle (--bundles), or average within each architecture (--set grouped=true)"
    )


def kind_of(shares: Shares | None) -> Kind:
    """Return the kind of knowledge that a request is about, where a method shares none: probabilities."""
    return "logits" if shares == "logits" else "probabilities"


def require(name: str, value: float, *, at_least: float | None = None, above: float | None = None) -> None:
    """Refuse a hyper-parameter that is out of range.

    Raises:
        ValueError: naming the parameter, what was expected and what came.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not np.isfinite(value):
        raise ValueError(f"{name}: expected a finite number, got {value!r}")
    if at_least is not None and value < at_least:
        raise ValueError(f"{name}: expected at least {at_least}, got {value}")
    if above is not None and value <= above:
        raise ValueError(f"{name}: expected above {above}, got {value}")
