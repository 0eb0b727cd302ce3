"""What left a site: a line for each message, written as it leaves, and the sums that `mdhfl leaves` shows."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mdhfl.sharing.messages import Request
from mdhfl.sharing.packing import payload_bytes
from mdhfl.store.lines import ends_whole
from mdhfl.timing import now

LEFT = "left.jsonl"  # in the site's folder of the experiment
SERVER = "server"
ANSWERS = "shared.values"  # knowledge, in a message
FRAME = "(names and brackets)"
NOTHING = "nothing"
CUT_OFF = " (cut off: this message did not leave)"  # ends a half-written line when the next one is written


@dataclass(frozen=True, kw_only=True)
class Sum:
    """What left of one field over all messages.

    Attributes:
        to: "server" or "peers".
        path: of the field, its parts joined by dots.
        kind: "array", "bytes", "text", "number", ..., in the last message that held something there.
        form: dtype and shape of its arrays, in the last message with one.
        messages: how many held it.
        bytes: all together.
    """

    to: str
    path: str
    kind: str
    form: str
    messages: int
    bytes: int


def note(
    folder: Path,
    message: Mapping[str, Any],
    *,
    request: Request,
    to: str,
    action: str = "",
    defences: Sequence[str] = (),
) -> None:
    """Append a line on a message that leaves. Raises OSError: then it must not leave.

    Args:
        folder: of the experiment, at the site.
        message: its fields.
        request: what is answered, or what a message to another site is about.
        to: the receiver.
        action: instead of the request's.
        defences: the site's policy as the message leaves, in words.
    """
    fields = list(_fields(message))
    whole = payload_bytes(message)
    frame = {"path": FRAME, "kind": "text", "bytes": whole - sum(field["bytes"] for field in fields)}
    line = {
        "time": now(),
        "round": request.round,
        "action": action or request.action,
        "to": to,
        "bytes": whole,
        "fields": [*fields, frame],
        **({"defences": list(defences)} if defences else {}),
    }
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LEFT).open("ab+") as file:
        text = json.dumps(line, separators=(",", ":")) + "\n"
        file.write((text if ends_whole(file) else f"{CUT_OFF}\n{text}").encode())


def read_left(path: Path) -> list[dict[str, Any]]:
    """Read the lines of a left.jsonl; those that an interruption or a full disk left half-written are left out.

    Raises:
        ValueError: another line is damaged.
    """
    found = []
    lines = path.read_text(encoding="utf-8").split("\n")
    for number, line in enumerate(lines[:-1], start=1):
        if line.endswith(CUT_OFF):
            continue
        try:
            found.append(dict(json.loads(line)))
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: expected a message as JSON, got something else") from error
    return found


def left_in(folder: Path) -> list[dict[str, Any]]:
    """Return what left a site by its folder of an experiment, nothing without a left.jsonl. Raises ValueError."""
    path = folder / LEFT
    return read_left(path) if path.is_file() else []


def answers_left(folder: Path) -> set[str]:
    """Return the SHA-256 of each different answer about the public set that has left for the server.

    A line that cannot be read counts as one that nobody has seen before: what has left is never taken for less.
    """
    path, found = folder / LEFT, set()
    for number, text in enumerate(path.read_bytes().splitlines() if path.is_file() else ()):
        try:
            line = json.loads(text)
            sent = line["fields"] if line["to"] == SERVER else ()
            found |= {field["sha256"] for field in sent if field["path"] == ANSWERS}
        except (ValueError, KeyError, TypeError, RecursionError):
            found.add(f"line {number}")
    return found


def array_digest(values: np.ndarray) -> str:
    """Return the SHA-256 of an array's numbers, as it is written down."""
    return hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()


def sums_of(lines: Sequence[Mapping[str, Any]]) -> list[Sum]:
    """Add up messages field by field, the largest first; what went to the server before what went to peers."""
    found: dict[tuple[str, str], Sum] = {}
    for line in lines:
        to = SERVER if line["to"] == SERVER else "peers"
        for field in line["fields"]:
            before = found.get((to, field["path"]))
            found[to, field["path"]] = Sum(
                to=to,
                path=field["path"],
                kind=before.kind if before and field["kind"] == NOTHING else field["kind"],
                form=f"{field['dtype']} {field['shape']}" if "dtype" in field else before.form if before else "",
                messages=1 + (before.messages if before else 0),
                bytes=field["bytes"] + (before.bytes if before else 0),
            )
    return sorted(found.values(), key=lambda each: (each.to != SERVER, -each.bytes, each.path))


def _fields(value: Any, path: str = "") -> Iterator[dict[str, Any]]:
    if isinstance(value, Mapping):
        for name, part in value.items():
            yield from _fields(part, f"{path}.{name}" if path else str(name))
    elif isinstance(value, np.ndarray):
        digest = array_digest(value)
        form = {"dtype": str(value.dtype), "shape": list(value.shape), "bytes": value.nbytes, "sha256": digest}
        yield {"path": path, "kind": "array", **form}
    elif isinstance(value, bytes):
        yield {"path": path, "kind": "bytes", "bytes": len(value), "sha256": hashlib.sha256(value).hexdigest()}
    else:
        size = len(json.dumps(value, separators=(",", ":")).encode())
        yield {"path": path, "kind": _kind(value), "bytes": size}


def _kind(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return NOTHING if value is None else "yes or no"
    kinds = ((str, "text"), (int, "number"), (float, "number"), (list, "list"), (tuple, "list"))
    return next((name for kind, name in kinds if isinstance(value, kind)), "value")
