"""How a site speaks to another one: a message and its reply, both plain values and numpy arrays."""

from collections.abc import Mapping
from typing import Any, Protocol


class PeerError(ConnectionError):
    """A peer could not be reached, or refused; the message names it and says why."""


class Peers(Protocol):
    """The other sites, as one site sees them."""

    def send(self, site: str, message: Mapping[str, Any]) -> Mapping[str, Any]:
        """Send a message and return the reply.

        Raises:
            PeerError: no reply in time, or a refusal.
        """


class NoPeers:
    """For a site that can reach no other."""

    def send(self, site: str, message: Mapping[str, Any]) -> Mapping[str, Any]:
        raise PeerError(f"site {site!r} cannot be reached: this site was started without its peers")
