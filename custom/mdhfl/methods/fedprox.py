"""FedProx: FedAvg, with a term that keeps a site near the weights that it started the round from.

Li et al.: "Federated Optimization in Heterogeneous Networks", MLSys 2020. For comparison: weights leave the sites.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from mdhfl.methods.parameters import parameter
from mdhfl.methods.weights_method import WeightsMethod

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class FedProx(WeightsMethod):
    """L_local = CE + proximal_weight / 2 * ||w - w_start||^2, over all parameters.

    The paper tunes the weight from 0.001, 0.01, 0.1, 1; with 0 it is FedAvg.
    """

    proximal_weight: float = parameter(0.01, "mu, of the pull to the weights that a round began with", at_least=0)

    title: ClassVar[str] = "FedProx (shares weights)"
    summary: ClassVar[str] = "FedAvg with a term that keeps a site near the round's start; weights leave the sites"
    citation: ClassVar[str] = "Li et al., MLSys 2020"

    def penalty(self, network: "nn.Module") -> "Callable[[], Tensor] | None":
        if self.proximal_weight == 0:
            return None
        import torch

        parameters = list(network.parameters())
        start = [parameter.detach().clone() for parameter in parameters]

        def proximal() -> "Tensor":
            squares = [((now - then) ** 2).sum() for now, then in zip(parameters, start, strict=True)]
            return self.proximal_weight / 2 * torch.stack(squares).sum()

        return proximal
