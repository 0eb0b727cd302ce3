"""Training on all sites' images: no federation, but the upper bound of one, in one process only."""

from collections.abc import Callable
from typing import Any, ClassVar


class PooledMethod:
    """A method's part: an epoch draws as many images as the site has from the pool of all sites.

    So the number of gradient steps stays that of every other method; only what can be seen in them differs.
    """

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
