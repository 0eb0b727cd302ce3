"""SL-FedL: swarm learning. Peers send their weights to a leader, elected anew each round; no server sees them.

Madni et al., IEEE Access 2023, after Warnat-Herresthal et al., "Swarm Learning for decentralized and confidential
clinical machine learning", Nature 2021. Sites of different architectures merge only within an architecture. For
comparison: weights leave the sites.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from mdhfl.methods.method import Shares, WeightsMethod


@dataclass(frozen=True, kw_only=True)
class SlFedl(WeightsMethod):
    """w = sum_k n_k w_k / sum_k n_k, merged by the round's leader;  L_local = CE."""

    shares: ClassVar[Shares | None] = "peer weights"
    least_sites: ClassVar[int] = 2

    def check_federation(self, *, bundles: Mapping[str, str], validation: int) -> None:
        if len(bundles) < self.least_sites:
            raise ValueError(
                f"{type(self).__name__}: a swarm expects at least {self.least_sites} sites, got {len(bundles)}; use "
                "`local` for one site alone"
            )
        super().check_federation(bundles=bundles, validation=validation)
