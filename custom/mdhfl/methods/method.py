"""What every method is: a frozen record of hyper-parameters and a few functions, most of them pure.

A method says what a site shares, how the server teaches, and which losses a site uses. It sees no wire, no file and no
image, only a `Learner` (one site in one round) and a `Server`, see `parties.py`. Functions that need torch import it
when called: the server calls none of them.

A family (`KnowledgeMethod`, `WeightsMethod`, `SwarmMethod`) answers for one kind of sharing: the check of an answer,
the teaching, the permission that it needs. A new kind of sharing is a new family, in one file.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from mdhfl.methods.parameters import check_parameters, parameter
from mdhfl.methods.parties import Learner, Loss, MutualLoss, Server
from mdhfl.sharing.accounts import Losses
from mdhfl.sharing.checks import MessageError
from mdhfl.sharing.exchange import Round
from mdhfl.sharing.knowledge import Kind
from mdhfl.sharing.messages import Answer, Request
from mdhfl.sharing.records import Lesson, Shared

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class Method(ABC):
    """A method that shares nothing; the hyper-parameters that every method has."""

    warm_up_epochs: int = parameter(1, "epochs of local training before the first alignment", at_least=0)
    local_epochs: int = parameter(1, "epochs over the private training images in each round", at_least=0)

    title: ClassVar[str] = ""  # for tables and figures; empty for a family
    summary: ClassVar[str] = ""  # one line for the help
    citation: ClassVar[str] = ""
    rounds: ClassVar[int] = 40  # published number of rounds after the warm-up
    shares: ClassVar[str | None] = None  # what leaves a site, in words
    permission: ClassVar[str | None] = None  # what a site's IT must allow in site.json before it takes part
    answers_with: ClassVar[type[Shared] | None] = None  # what stands in an answer to the server
    knowledge_kind: ClassVar[Kind] = "probabilities"
    extra: ClassVar[str | None] = None  # of mdhfl, which its sites need installed, see `mdhfl.extras`
    is_federated: ClassVar[bool] = True  # a federation could run it
    repeats_rounds: ClassVar[bool] = True  # a site can do a round again from its request alone

    def __post_init__(self) -> None:
        check_parameters(self)

    def needs(self) -> str | None:
        """Return the permission that this method needs as it is set."""
        return self.permission

    def answer_kind(self) -> type[Shared] | None:
        """Return what stands in an answer to the server, as this method is set."""
        return self.answers_with

    # at the server

    def check(self, answer: Answer, request: Request) -> None:
        """Refuse an answer that does not share what this method shares, or something else.

        Raises:
            MessageError: naming the site, what was expected and what came.
        """
        wanted = self.answer_kind()
        if answer.shared is not None and (wanted is None or not isinstance(answer.shared, wanted)):
            raise MessageError(
                f"answer from site {answer.site!r}: holds {answer.shared.kind}, which this method does not share"
            )

    def try_out(self, answer: Answer, server: Server) -> None:  # noqa: B027
        """Refuse a checked answer that a server that trains finds it cannot use. Raises MessageError."""

    def complete(self, finished: Round, server: Server) -> Round:
        """Ask the sites of a round, before it is recorded, for what their answers do not hold yet.

        Raises:
            RuntimeError: too few gave it; the round is asked for again when the experiment resumes.
        """
        return finished

    def check_together(self, shared: Mapping[str, Any]) -> dict[str, str]:
        """Say whose share, of one round's, does not go with the others': site -> reason. Raises nothing."""
        return {}

    def teach(self, last: Round, server: Server) -> Mapping[str, Lesson]:
        """Combine what the sites shared in the last round into a lesson per site; none where it is absent.

        One object for several sites is sent as one broadcast.

        Raises:
            ValueError: the method cannot teach what was shared.
        """
        return {}

    def last_round(self, rounds: int) -> int:
        """Return the number of the last round, of so many after the warm-up."""
        return rounds

    def check_federation(self, *, bundles: Mapping[str, str], validation: int) -> None:  # noqa: B027
        """Refuse a federation that the method cannot work on, before anything starts.

        Args:
            bundles: site -> its bundle.
            validation: number of labelled images at the server.

        Raises:
            ValueError: in one line, with the way out.
        """

    def check_engine(self, engine: str) -> None:  # noqa: B027
        """Refuse an engine ("flare" or "inprocess") that cannot run the method. Raises ValueError."""

    def differences(self) -> list[str]:
        """Say how its runs differ, by necessity, from local training with as many local steps."""
        return []

    def question_views(self) -> int:
        """Return in how many views each public image is asked about."""
        return 1

    # at a site

    def trains_twin(self) -> bool:
        """Return whether each site also trains a twin that learns from nobody, to tell what sharing brings."""
        return False

    def proxy_bundle(self) -> str | None:
        """Return the built-in bundle of a second network, common to all sites, that is shared instead of the first."""
        return None

    def proxy_losses(self, learner: Learner) -> "tuple[MutualLoss, MutualLoss]":
        """Return the losses of a site's network and of its proxy, which train together."""
        raise NotImplementedError(f"{type(self).__name__} has a proxy and no losses for it")

    def average_decay(self) -> float:
        """Return the decay per step of the averaged weights that answer; 0 for none."""
        return 0.0

    def local_loss(self, learner: Learner) -> Loss:
        """Return the loss of the local training at a site."""
        return self.training_loss

    def learning_rate_factor(self, number: int) -> float:
        """Return what the optimiser's learning rate is multiplied by in a round, above 0."""
        return 1.0

    def trust(self, number: int) -> float:
        """Return the probability above which a model's own answer replaces a training label in a round; 1 for never."""
        return 1.0

    def early_learning(self) -> float:
        """Return the weight with which a model holds on to its early answers about training images; 0 for none."""
        return 0.0

    def own_prior(self, learner: Learner) -> "Tensor | None":
        """Return what a site adds to its logits where images have its own mix of classes, (C,); None for nothing."""
        return None

    def initial_seed(self, *, common: int, own: int) -> int:
        """Return the seed of the initial weights: one for all sites, or the site's own."""
        return own

    def calibrates(self) -> bool:
        """Return whether a site scales its scores, before the prior, to fit its validation part."""
        return False

    def training_images(self, own: Any, *, pooled: Callable[[], Any]) -> Any:
        """Return the part that a site draws its training batches from: its own, or that of all sites."""
        return own

    @abstractmethod
    def training_loss(self, logits: "Tensor", labels: "Tensor") -> "Tensor":
        """Return the local loss of (B, C) logits against (B,) possibly wrong labels, mean over the batch."""

    def penalty(self, network: "nn.Module") -> "Callable[[], Tensor] | None":
        """Return what is added to the local loss at every step, made from the network as a phase begins."""
        return None

    def learn(self, lesson: Lesson, learner: Learner) -> float | None:
        """Learn from a lesson before the local training; return the mean loss of alignment, if there was any.

        Raises:
            ValueError: the lesson is not for this method, or not for this site.
        """
        raise ValueError(f"site {learner.site!r}: {type(self).__name__} takes no lesson, got {lesson.kind}")

    def share(self, learner: Learner, *, losses: Losses) -> Shared | None:
        """Return what the site shares with the server after its round."""
        return None

    def let_out(self, shared: Shared | None, learner: Learner) -> Shared | None:
        """Return what the server is told of what a site has shared, which the site itself keeps."""
        return shared

    # between sites

    def draw(self, learner: Learner) -> Shared:
        """Take part in what sites do between two rounds, as the request's lesson says. Raises ValueError."""
        raise ValueError(f"method {type(self).__name__} does not use peers")

    def lead(self, learner: Learner) -> None:
        """Lead a merge among sites. Raises ValueError where there is none to lead."""
        raise ValueError(f"method {type(self).__name__} does not use peers")

    def receive(self, sender: str, message: Mapping[str, Any], learner: Learner) -> dict[str, Any]:
        """Answer another site. Raises ValueError where sites do not speak to each other."""
        raise ValueError(f"method {type(self).__name__} does not use peers")
