"""SL-FedL: swarm learning. Peers send their weights to a leader, elected anew each round; no server sees them.

Madni et al., IEEE Access 2023, after Warnat-Herresthal et al., "Swarm Learning for decentralized and confidential
clinical machine learning", Nature 2021. Sites of different architectures merge only within an architecture. For
comparison: weights leave the sites.
"""

from dataclasses import dataclass
from typing import ClassVar

from mdhfl.methods.swarm_method import SwarmMethod


@dataclass(frozen=True, kw_only=True)
class SlFedl(SwarmMethod):
    """w = sum_k n_k w_k / sum_k n_k, merged by the round's leader;  L_local = CE."""

    title: ClassVar[str] = "SL-FedL (peers share weights)"
    summary: ClassVar[str] = "an elected leader among the sites averages their weights"
    citation: ClassVar[str] = "Madni et al., IEEE Access 2023"
