"""Centralised: every architecture trains on all sites' images. No federation: the upper bound, in one process only."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from mdhfl.methods.local import Local


@dataclass(frozen=True, kw_only=True)
class Centralised(Local):
    """As local training, but an epoch draws as many images as the site has from the pool of all sites.

    So the number of gradient steps stays that of every other method; only what can be seen in them differs.
    """

    title: ClassVar[str] = "centralised (pooled images: no federation)"
    summary: ClassVar[str] = "all architectures on the pooled images: the upper bound, no federation"
    is_federated: ClassVar[bool] = False

    def check_engine(self, engine: str) -> None:
        if engine != "inprocess":
            raise ValueError(
                "Centralised pools all sites' images; only --engine inprocess can run it, and no FLARE job can be made "
                "of it"
            )

    def differences(self) -> list[str]:
        return ["sees the training images of all sites"]

    def training_images(self, own: Any, *, pooled: Callable[[], Any]) -> Any:
        return pooled()
