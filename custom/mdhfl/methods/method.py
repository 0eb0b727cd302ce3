"""What every method is: a frozen record of hyper-parameters and a few pure functions.

A method says what a site shares, how the server teaches, and which losses a site uses. It never sees the wire, a file
or an image. Functions that need torch import it when called: the server calls none of them.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from mdhfl.knowledge import Kind, Knowledge
from mdhfl.teaching import Teaching

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Method(ABC):
    """Hyper-parameters that every method has.

    Attributes:
        warm_up_epochs: epochs of local training before the first alignment, at least 0.
        local_epochs: epochs over the private training images in each round, at least 0.
    """

    warm_up_epochs: int
    local_epochs: int

    shares: ClassVar[Kind | None]  # what a site says about the public set, None if nothing

    def __post_init__(self) -> None:
        for name in ("warm_up_epochs", "local_epochs"):
            require(name, getattr(self, name), at_least=0)

    @abstractmethod
    def training_loss(self, logits: "Tensor", labels: "Tensor") -> "Tensor":
        """Return the local loss of (B, C) logits against (B,) possibly wrong labels, mean over the batch."""

    def teach(self, knowledge: Mapping[str, Knowledge]) -> Teaching | None:
        """Combine the sites' checked knowledge at the server; None if there is nothing to teach."""
        return None


@dataclass(frozen=True, kw_only=True)
class SharingMethod(Method):
    """A method whose sites share knowledge and align to a teacher.

    Attributes:
        align_epochs: epochs over the public images in each round, at least 1.
    """

    align_epochs: int

    def __post_init__(self) -> None:
        super().__post_init__()
        require("align_epochs", self.align_epochs, at_least=1)

    @abstractmethod
    def express(self, logits: "Tensor") -> "Tensor":
        """Turn (B, C) logits on public images into what the site shares."""

    @abstractmethod
    def teacher(self, teaching: Teaching, *, own: Knowledge | None, site: str) -> NDArray[np.float32] | None:
        """Return the (N, C) knowledge that a site learns from, None if nobody else taught."""

    @abstractmethod
    def alignment_loss(self, logits: "Tensor", teacher: "Tensor") -> "Tensor":
        """Return the loss of (B, C) logits against (B, C) rows of the teacher, mean over the batch."""


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
