"""Swarm-FHE: swarm learning whose leader adds ciphertexts that it cannot read.

Madni, Umer, Foresti: "Swarm-FHE: Fully Homomorphic Encryption-based Swarm Learning for Malicious Clients", Int. J. of
Neural Systems 2023. The scheme's parameters and its keys are not published: ours are CKKS by TenSEAL, with a fresh key
for each round that the round's leader never holds (docs/swarm.md gives the threat model).
"""

from dataclasses import dataclass
from typing import ClassVar

from mdhfl.methods.swarm_method import SwarmMethod


@dataclass(frozen=True, kw_only=True)
class SwarmFhe(SwarmMethod):
    """Enc(w) = sum_k Enc(n_k / n w_k): weighted by each site before it encrypts, added by the leader."""

    title: ClassVar[str] = "Swarm-FHE (peers share encrypted weights)"
    summary: ClassVar[str] = "the leader adds encrypted weights that it cannot read"
    citation: ClassVar[str] = "Madni, Umer, Foresti, Int. J. of Neural Systems 2023"
    shares: ClassVar[str | None] = "encrypted peer weights"
    permission: ClassVar[str | None] = "encrypted_weights"
    encrypted: ClassVar[bool] = True
    extra: ClassVar[str | None] = "swarm"
    least_sites: ClassVar[int] = 3  # a leader without the key, one who makes it, and another to hide among
