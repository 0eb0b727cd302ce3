"""The strongest that a site can do alone: prior-free training, averaged weights. The baseline that sharing must beat.

Nothing is shared. Everything that MDH-FL+ does to a site's own training is here, and is switched by the same
hyper-parameters, so that the difference between the two is what sharing brings.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from mdhfl.methods.parameters import parameter
from mdhfl.methods.prior_free import PriorFree

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class LocalPlus(PriorFree):
    """L_local = base(z + prior_strength * log pi, y);  the average of the weights over the steps answers.

    base = ce_weight * CE + rce_weight * RCE, or the generalised cross-entropy where gce_exponent is above 0; beside it
    early_weight * log(1 - <p, t>), t what the network has said of the image before.
    """

    warm_up_epochs: int = parameter(8, "epochs of local training before the first alignment", at_least=0)
    local_epochs: int = parameter(2, "epochs over the private training images in each round", at_least=0)
    ce_weight: float = parameter(1.0, "weight of the cross-entropy in the local loss", at_least=0)
    rce_weight: float = parameter(0.0, "weight of the reverse cross-entropy in the local loss", at_least=0)
    gce_exponent: float = parameter(
        0.0, "q of the generalised cross-entropy instead; 0 for none", at_least=0, at_most=1
    )
    prior_strength: float = parameter(1.0, "tau of the prior in the local loss; 1 is the balanced softmax", at_least=0)
    averaging: float = parameter(
        0.99, "decay per step of the averaged weights that answer; 0 for none", at_least=0, at_most=0.9999
    )
    calibrated: bool = parameter(True, "whether scores on own images are scaled to fit the validation part")
    relabel_above: float = parameter(
        1.0, "probability above which a model's own answer replaces a training label; 1: never", above=0, at_most=1
    )
    early_weight: float = parameter(
        0.0, "lambda of early-learning regularisation, which resists wrong labels; 0 for none", at_least=0
    )
    cooling_from: int = parameter(0, "round from which the learning rate halves with each round; 0: never", at_least=0)

    title: ClassVar[str] = "local, balanced and averaged"
    summary: ClassVar[str] = "every site alone, balanced softmax and averaged weights: the baseline to beat"
    rounds: ClassVar[int] = 8

    def average_decay(self) -> float:
        return self.averaging

    def learning_rate_factor(self, number: int) -> float:
        return 0.5 ** (number - self.cooling_from + 1) if self.cools(number) else 1.0

    def cools(self, number: int) -> bool:
        """Return whether a round is one of the last, in which learning comes to rest."""
        return 0 < self.cooling_from <= number

    def calibrates(self) -> bool:
        return self.calibrated

    def trust(self, number: int) -> float:
        return self.relabel_above if number else 1.0

    def early_learning(self) -> float:
        return self.early_weight

    def training_loss(self, logits: "Tensor", labels: "Tensor") -> "Tensor":
        from mdhfl.losses import generalised_cross_entropy, symmetric_cross_entropy

        if self.gce_exponent:
            return generalised_cross_entropy(logits, labels, q=self.gce_exponent)
        return symmetric_cross_entropy(logits, labels, ce_weight=self.ce_weight, rce_weight=self.rce_weight)
