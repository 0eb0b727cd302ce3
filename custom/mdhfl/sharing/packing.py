"""A message as text and arrays, for the disk: JSON for the plain values, the arrays beside it. No pickle."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

ARRAY = "__array__"  # a key that stands for an array, with its place in the list


def pack(wire: Mapping[str, Any]) -> tuple[str, list[NDArray[Any]]]:
    """Return a message's plain values as compact JSON, and its arrays in the order in which they stand."""
    arrays: list[NDArray[Any]] = []

    def plain(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            arrays.append(value)
            return {ARRAY: len(arrays) - 1}
        if isinstance(value, Mapping):
            return {key: plain(part) for key, part in value.items()}
        return [plain(part) for part in value] if isinstance(value, list | tuple) else value

    return json.dumps(plain(wire), separators=(",", ":"), allow_nan=False), arrays


def unpack(text: str, arrays: Sequence[NDArray[Any]]) -> dict[str, Any]:
    """Rebuild what `pack` took apart.

    Raises:
        ValueError: the text is not JSON, or names an array that is not there.
    """

    def whole(value: dict[str, Any]) -> Any:
        if set(value) != {ARRAY}:
            return value
        place = value[ARRAY]
        if type(place) is not int or not 0 <= place < len(arrays):
            raise ValueError(f"expected one of {len(arrays)} arrays, got number {place!r}")
        return arrays[place]

    values = json.loads(text, object_hook=whole)
    if not isinstance(values, dict):
        raise ValueError(f"expected a JSON object, got {type(values).__name__}")
    return values


def wire_digest(wire: Mapping[str, Any]) -> str:
    """Return 64 hexadecimal digits of a message: its plain values, and every bit of its arrays."""
    text, arrays = pack(wire)
    digest = hashlib.sha256(text.encode())
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


class Message(Protocol):
    """Something that travels."""

    def to_wire(self) -> dict[str, Any]:
        """Return a dictionary of plain values and numpy arrays."""


def payload_bytes(message: Message | Mapping[str, Any]) -> int:
    """Count a message's bytes: its arrays and raw bytes plus everything else as compact JSON.

    The same for every engine; what FLARE adds on the wire is measured in `benchmarks/`.
    """
    raw: list[int] = []

    def plain(value: Any) -> Any:
        if isinstance(value, np.ndarray | bytes):
            raw.append(value.nbytes if isinstance(value, np.ndarray) else len(value))
            return None
        return {key: plain(part) for key, part in value.items()} if isinstance(value, Mapping) else value

    wire = message if isinstance(message, Mapping) else message.to_wire()
    return len(json.dumps(plain(wire), separators=(",", ":")).encode()) + sum(raw)
