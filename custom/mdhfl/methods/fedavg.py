"""FedAvg: sites share weights, the server averages them. For comparison: weights leave the sites.

McMahan et al.: "Communication-Efficient Learning of Deep Networks from Decentralized Data", AISTATS 2017. Each site
keeps its optimiser from round to round; batch normalisation's statistics are averaged like the parameters.
"""

from dataclasses import dataclass
from typing import ClassVar

from mdhfl.methods.weights_method import WeightsMethod


@dataclass(frozen=True, kw_only=True)
class FedAvg(WeightsMethod):
    """w = sum_k n_k w_k / sum_k n_k, over the sites of one architecture;  L_local = CE."""

    title: ClassVar[str] = "FedAvg (shares weights)"
    summary: ClassVar[str] = "weights leave the sites, the server averages them"
    citation: ClassVar[str] = "McMahan et al., AISTATS 2017"
