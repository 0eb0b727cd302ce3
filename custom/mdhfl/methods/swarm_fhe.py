"""Swarm-FHE: swarm learning whose leader adds ciphertexts that it cannot read.

Madni, Umer, Foresti: "Swarm-FHE: Fully Homomorphic Encryption-based Swarm Learning for Malicious Clients", Int. J. of
Neural Systems 2023. The scheme's parameters and its keys are not published: ours are CKKS by TenSEAL, with a fresh key
for each round that the round's leader never holds (docs/swarm.md gives the threat model).
"""

from dataclasses import dataclass
from typing import ClassVar

from mdhfl.methods.method import Shares
from mdhfl.methods.sl_fedl import SlFedl


@dataclass(frozen=True, kw_only=True)
class SwarmFhe(SlFedl):
    """Enc(w) = sum_k Enc(n_k / n w_k): weighted by each site before it encrypts, added by the leader."""

    shares: ClassVar[Shares | None] = "encrypted peer weights"
    least_sites: ClassVar[int] = 3  # a leader without the key, one who makes it, and another to hide among
