"""FedProx: FedAvg, with a term that keeps a site near the weights that it started the round from.

Li et al.: "Federated Optimization in Heterogeneous Networks", MLSys 2020. For comparison: weights leave the sites.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mdhfl.methods.method import WeightsMethod, require

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class FedProx(WeightsMethod):
    """L_local = CE + proximal_weight / 2 * ||w - w_start||^2, over all parameters.

    Attributes:
        proximal_weight: mu, at least 0. With 0 it is FedAvg. Paper: tuned from 0.001, 0.01, 0.1, 1.
    """

    proximal_weight: float

    def __post_init__(self) -> None:
        super().__post_init__()
        require("proximal_weight", self.proximal_weight, at_least=0)

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
