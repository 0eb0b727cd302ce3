"""Whom a method works with: the server between two rounds, and one site in one round, each as a method sees it."""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mdhfl.sharing.knowledge import Knowledge
from mdhfl.sharing.messages import Action, Answer, Request
from mdhfl.sharing.records import Lesson
from mdhfl.sharing.weights import Merged, Weights

if TYPE_CHECKING:
    from torch import Tensor

Loss = Callable[["Tensor", "Tensor"], "Tensor"]  # (B, C) logits and (B,) labels or (B, C) rows -> scalar
MutualLoss = Callable[["Tensor", "Tensor", "Tensor"], "Tensor"]  # own logits, labels, the other's logits -> scalar


class Trainer(Protocol):
    """A server that trains has this: the public images, a labelled validation part and the bundles (FedDF only)."""

    def try_out(self, weights: Weights) -> None:
        """Let a site's model answer the public images. Raises MessageError if it cannot."""

    def distil(
        self, averages: Mapping[str, Merged], *, teachers: Mapping[str, Weights], settings: Any
    ) -> dict[str, Merged]:
        """Train the average of each layout on the mean answer of all teachers to the public images."""


class Server(Protocol):
    """The server, as a method sees it between two rounds."""

    @property
    def experiment(self) -> str:
        """The experiment's id."""

    @property
    def sites(self) -> tuple[str, ...]:
        """The names of all sites of the experiment."""

    def trainer(self) -> Trainer:
        """Return what the server trains with. Raises OSError or ValueError where it has nothing to train with."""

    def ask(self, sites: Iterable[str], action: Action, lesson: Lesson) -> Mapping[str, Answer]:
        """Ask some sites between two rounds; return what came in time, by site."""


class Learner(Protocol):
    """One site in one round, as a method sees it."""

    @property
    def site(self) -> str:
        """Its name."""

    @property
    def request(self) -> Request:
        """What it was asked."""

    @property
    def last(self) -> Answer | None:
        """What it answered last."""

    def class_counts(self) -> "Tensor":
        """Return the (C,) numbers of images with each (possibly wrong) label among those that it trains on."""

    def public(self, *, views: int, asked_in: int, own_stain: bool) -> "Tensor":
        """Return the (V * N, 3, S, S) uint8 views of the public images that are asked about in a round."""

    def align(
        self,
        targets: "Tensor",
        *,
        loss: Loss,
        epochs: int,
        images: "Tensor | None" = None,
        keep_statistics: bool = False,
    ) -> float | None:
        """Train the network on (N, C) rows for the public images, or those given; return the mean loss."""

    def accompany(self, targets: "Tensor", *, images: "Tensor", loss: Loss, keep_statistics: bool) -> None:
        """Let a public batch and its rows join every step of this round's local training."""

    def answers(self, *, images: "Tensor | None" = None, own_statistics: bool = False) -> "Tensor":
        """Return the (N, C) logits of the network for the public images, or those given."""

    def taught(self, teacher: NDArray[np.floating], *, own: Knowledge | None) -> None:
        """Note how far a teacher agrees with what the site itself said of the same images.

        Args:
            teacher: (V * N, C) that the site is to learn from.
            own: what the site shared in the round that the teacher was made of; None where it shared nothing then.
        """

    def competences(self, *, epochs: int, loss: Loss) -> NDArray[np.float32]:
        """Return (C,) in [0, 1]: how well the site's out-of-fold answers agree with its labels, class by class."""

    def withholds(self, what: str) -> bool:
        """Return whether the site's IT wants something not to be said."""

    def weights(self) -> Weights:
        """Return the network, or its proxy if the method has one, as one vector."""

    def adopt(self, merged: Merged) -> None:
        """Replace the weights of the network, or of its proxy. Raises ValueError if they are another network's."""

    def swarm(self, *, encrypted: bool) -> Any:
        """Return this site's part in the experiment's swarm, see `mdhfl.swarm.member.Swarm`."""

    def blinding(self) -> Any:
        """Return this site's part in blind sums, see `mdhfl.site.blinding.Blinding`."""

    def note(self, error: Exception) -> None:
        """Write into the site's log what it does not use, though it goes on."""
