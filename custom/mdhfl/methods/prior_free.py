"""Training without the site's prior, and the prior given back where images have the site's own mix of classes.

The balanced softmax of Ren et al., NeurIPS 2020: a site with few images of a class, or none, learns scores that do not
say so, and what it shares carries no prior.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mdhfl.methods.method import Method
from mdhfl.methods.parameters import parameter
from mdhfl.methods.parties import Learner, Loss

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class PriorFree(Method):
    """L_local = base(z + prior_strength * log pi, y): the method's loss, and the site's smoothed class shares."""

    prior_strength: float = parameter(
        0.0, "tau of the prior in the local loss; 1 is the balanced softmax", at_least=0, later=True
    )

    def local_loss(self, learner: Learner) -> Loss:
        if not self.prior_strength:
            return super().local_loss(learner)
        from mdhfl.losses import log_prior, prior_adjusted

        prior = log_prior(learner.class_counts())

        def loss(logits: "Tensor", labels: "Tensor") -> "Tensor":
            adjusted = prior_adjusted(logits, prior.to(logits.device), strength=self.prior_strength)
            return self.training_loss(adjusted, labels)

        return loss

    def own_prior(self, learner: Learner) -> "Tensor | None":
        """Return what a site adds to its logits for images of its own mix: the prior that training left out."""
        from mdhfl.losses import log_prior

        return self.prior_strength * log_prior(learner.class_counts()) if self.prior_strength else None
