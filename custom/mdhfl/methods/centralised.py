"""Centralised: every architecture trains on all sites' images, with cross-entropy."""

from dataclasses import dataclass
from typing import ClassVar

from mdhfl.methods.local import Local
from mdhfl.methods.pooled_method import PooledMethod


@dataclass(frozen=True, kw_only=True)
class Centralised(PooledMethod, Local):
    """As local training, on the pooled images."""

    title: ClassVar[str] = "centralised (pooled images: no federation)"
    summary: ClassVar[str] = "all architectures on the pooled images: an upper bound, no federation"
