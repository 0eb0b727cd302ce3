"""ProxyFL: beside its own network each site trains a small common one, whose weights are averaged by the server.

Shen et al., "Federated Mutual Learning", arXiv 2006.16765 (FML: a server averages); Kalra et al., "Decentralized
Federated Learning through Proxy Model Sharing", Nature Communications 2023 (ProxyFL: peers do). The proxy has no batch
normalisation, so that no statistics of a site's images are averaged. Weights leave the sites: those of the proxy.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from mdhfl.methods.local_plus import LocalPlus
from mdhfl.methods.parameters import parameter
from mdhfl.methods.parties import Learner, MutualLoss
from mdhfl.methods.weights_method import WeightsMethod

if TYPE_CHECKING:
    from torch import Tensor

UNUSED = ("relabel_above", "early_weight")  # of local_plus: both networks learn from the site's labels as they are


@dataclass(frozen=True, kw_only=True)
class ProxyFl(LocalPlus, WeightsMethod):
    """L = (1 - m) base(z + prior_strength * log pi, y) + m KL(softmax(z_other) || softmax(z)), for both networks."""

    mutual_weight: float = parameter(0.5, "m of the divergence from the other network", at_least=0, at_most=1)

    grouped: ClassVar[bool] = True  # type: ignore[misc]  # proxies are all of one bundle: there is one group

    title: ClassVar[str] = "ProxyFL (shares a proxy's weights)"
    summary: ClassVar[str] = "a small common network beside each site's own; its weights are averaged"
    citation: ClassVar[str] = "Shen et al., arXiv 2006.16765; Kalra et al., Nature Communications 2023"
    shares: ClassVar[str | None] = "proxy weights"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in UNUSED:
            value, default = getattr(self, name), getattr(type(self), name)
            if value != default:
                raise ValueError(
                    f"{name}: expected {default:g} with a proxy, got {value:g}: both networks learn from the site's "
                    "labels as they are; leave it out, or choose local_plus or mdhfl_plus"
                )

    def proxy_bundle(self) -> str | None:
        return "mobilenet_v2_group"

    def proxy_losses(self, learner: Learner) -> "tuple[MutualLoss, MutualLoss]":
        base = self.local_loss(learner)

        def loss(logits: "Tensor", labels: "Tensor", other: "Tensor") -> "Tensor":
            from mdhfl.losses import knowledge_divergence

            apart = knowledge_divergence(logits, other.softmax(dim=1), temperature=1.0)
            return (1 - self.mutual_weight) * base(logits, labels) + self.mutual_weight * apart

        return loss, loss

    def check_federation(self, *, bundles: Mapping[str, str], validation: int) -> None:
        """Any architectures: what is averaged is the proxy."""

    def initial_seed(self, *, common: int, own: int) -> int:
        return own

    def last_round(self, rounds: int) -> int:
        return rounds  # a last merge would change proxies only

    def differences(self) -> list[str]:
        return ["a second network in every local step"]
