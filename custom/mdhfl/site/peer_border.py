"""What may go from a site to another one: the messages of a swarm, checked by their structure.

Other sites' networks are not known to a site, so only what it shares itself must have its own network's length.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from mdhfl.sharing.checks import LONGEST_TEXT, MessageError
from mdhfl.sharing.messages import Request
from mdhfl.sharing.packing import pack
from mdhfl.site.form import form_of
from mdhfl.site.settings import SiteSettings
from mdhfl.swarm.ckks import CONTEXT_BYTES, largest_bytes

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,99}")
DEEPEST = 12  # mappings and lists in each other
MOST_PLAIN = 4_000_000  # bytes of plain values: a ledger of years
PLAIN_ARRAYS, DECRYPTED = ("result", "values"), "values"


def checked_message(
    message: Any, settings: SiteSettings, *, request: Request, reply_to: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return a message to a peer, rebuilt.

    Args:
        message: what this site asks of a peer or answers it.
        settings: the site's.
        request: the server's, which the message is about.
        reply_to: what is answered, None if this site asks.

    Raises:
        ValueError: it holds what must not leave.
    """
    if not isinstance(message, Mapping):
        raise MessageError(f"peer message: expected fields, got {type(message).__name__}")
    form, found = form_of(settings, request), {}
    share = reply_to is not None and reply_to.get("ask") == "share"
    for name, value in message.items():
        what = f"peer message's {_name(name)}"
        if name == "request":
            text, arrays = pack(Request.from_wire(value).to_wire())
            if arrays:
                raise MessageError("peer message: its request must hold no arrays")
            found[name] = json.loads(text)
        elif isinstance(value, np.ndarray):
            found[name] = _vector(value, settings, name=name, length=form.shared.length if share else None)
        elif isinstance(value, bytes) or _is_ciphertext(value):
            found[name] = _encrypted(value, settings, what=what, numbers=form.shared.length if share else None)
        else:
            found[name] = _plain(value, what=what, depth=0)
    plain = {name: value for name, value in found.items() if name != "request" and not _is_large(value)}
    if len(json.dumps(plain)) > MOST_PLAIN:
        raise MessageError(f"peer message: expected plain values of at most {MOST_PLAIN} bytes, got more")
    return found


def _vector(value: np.ndarray, settings: SiteSettings, *, name: str, length: int | None) -> np.ndarray:
    """Check a model: plain weights where the site allows them, or the mean that a leader had decrypted for it."""
    allowed = "weights" in settings.may_share or ("encrypted_weights" in settings.may_share and name == DECRYPTED)
    if name not in PLAIN_ARRAYS or not allowed:
        raise MessageError(f"peer message's {name}: holds an array, and this site shares no plain weights with peers")
    if type(value) is not np.ndarray or value.dtype != np.float32 or value.ndim != 1 or not np.isfinite(value).all():
        raise MessageError(
            f"peer message's {name}: expected one finite float32 vector, got {value.dtype} {value.shape}"
        )
    if length is not None and len(value) != length:
        raise MessageError(f"peer message's {name}: expected {length} numbers, got {len(value)}")
    return np.array(value, order="C")


def _encrypted(value: Any, settings: SiteSettings, *, what: str, numbers: int | None) -> Any:
    """Check a key's context, or a ciphertext's fields."""
    if "encrypted_weights" not in settings.may_share:
        raise MessageError(f"{what}: holds bytes, and this site shares no encrypted weights")
    if isinstance(value, bytes):
        if len(value) > CONTEXT_BYTES:
            raise MessageError(f"{what}: expected a context of at most {CONTEXT_BYTES} bytes, got {len(value)}")
        return bytes(value)
    length = value.get("length")
    if type(length) is not int or (numbers is not None and length != numbers):
        raise MessageError(f"{what}: expected a ciphertext of {numbers} numbers, got another")
    if length < 1 or len(value["data"]) > largest_bytes(length):
        raise MessageError(f"{what}: expected a ciphertext of {length} numbers, got {len(value['data'])} bytes")
    return {name: bytes(part) if name == "data" else _plain(part, what=what, depth=0) for name, part in value.items()}


def _is_ciphertext(value: Any) -> bool:
    return isinstance(value, Mapping) and isinstance(value.get("data"), bytes)


def _is_large(value: Any) -> bool:
    return isinstance(value, np.ndarray | bytes) or _is_ciphertext(value)


def _plain(value: Any, *, what: str, depth: int) -> Any:
    """Return plain values, rebuilt."""
    if depth > DEEPEST:
        raise MessageError(f"{what}: nested too deeply")
    if isinstance(value, Mapping):
        return {_name(name): _plain(part, what=what, depth=depth + 1) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part, what=what, depth=depth + 1) for part in value]
    if value is None or type(value) in (bool, int):
        if isinstance(value, int) and abs(value) > 2**63:
            raise MessageError(f"{what}: expected whole numbers below 2^63, got a larger one")
        return value
    if type(value) is float and np.isfinite(value):
        return value
    if type(value) is str and len(value) <= LONGEST_TEXT and value.isprintable():
        return value
    raise MessageError(f"{what}: expected plain values, got {type(value).__name__}")


def _name(name: Any) -> str:
    if type(name) is not str or NAME.fullmatch(name) is None:
        raise MessageError(f"peer message: expected names of fields, got {name!r:.100}")
    return name
