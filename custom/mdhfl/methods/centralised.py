"""Centralised: every architecture trains on all sites' images. No federation: the upper bound, in one process only."""

from dataclasses import dataclass
from typing import ClassVar

from mdhfl.methods.local import Local


@dataclass(frozen=True, kw_only=True)
class Centralised(Local):
    """As local training, but an epoch draws as many images as the site has from the pool of all sites.

    So the number of gradient steps stays that of every other method; only what can be seen in them differs.
    """

    pools: ClassVar[bool] = True
