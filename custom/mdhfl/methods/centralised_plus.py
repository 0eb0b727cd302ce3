"""Centralised, balanced and averaged: what the strongest local training makes of all sites' images."""

from dataclasses import dataclass
from typing import ClassVar

from mdhfl.methods.local_plus import LocalPlus
from mdhfl.methods.pooled_method import PooledMethod


@dataclass(frozen=True, kw_only=True)
class CentralisedPlus(PooledMethod, LocalPlus):
    """As the strongest local training, on the pooled images: the fair upper bound of MDH-FL+.

    The prior that training leaves out, and that answers about own images get back, is that of the pool.
    """

    title: ClassVar[str] = "centralised, balanced and averaged (pooled images: no federation)"
    summary: ClassVar[str] = "the strongest local training on the pooled images: the upper bound, no federation"
