"""Which language messages are in: a number that every message carries, and that is read before anything else in it.

Two versions of mdhfl with the same number understand each other, whatever their own numbers are. It goes up with every
change of a message's fields or of what they mean; decision 021 says when. Where it stands in a message never changes.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from mdhfl import __version__
from mdhfl.sharing.checks import MessageError, record, shown
from mdhfl.sharing.reasons import Refusal

PROTOCOL = 1  # version 0.1.0 had none


class OtherProtocol(Refusal, MessageError):
    """A message in another language than ours; nothing else in it was read."""

    def __init__(self, text: str) -> None:
        """Take what stays here; a site tells others which version it runs."""
        super().__init__("version", text, version=__version__)


def stamped(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return a message's fields as they travel: with the protocol."""
    return {"protocol": PROTOCOL, **fields}


def fields_of(wire: Any, *, what: str, fields: Iterable[str]) -> dict[str, Any]:
    """Return the fields of a message that travelled, without the protocol.

    Args:
        wire: what came.
        what: "request" or "answer".
        fields: those that it must have, and no others.

    Raises:
        OtherProtocol: it is in another protocol, or in none as version 0.1.0's; whatever else is in it.
        MessageError: it has other fields.
    """
    if isinstance(wire, Mapping):
        got = wire.get("protocol")
        if type(got) is not int or got != PROTOCOL:
            said = "none" if got is None else shown(got)
            raise OtherProtocol(
                f"{what}: expected protocol {PROTOCOL}, as mdhfl {__version__} here speaks it, got {said}"
                f"{_version_in(wire)}; install the same version on both"
            )
    values = dict(record(wire, what=what, fields=("protocol", *fields)))
    del values["protocol"]
    return values


def _version_in(wire: Mapping[str, Any]) -> str:
    version = wire.get("version")
    return f" from mdhfl {shown(version)}" if isinstance(version, str) else ""
