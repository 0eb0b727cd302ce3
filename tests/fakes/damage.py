"""What can happen to a file."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mdhfl.store.sealed import read_sealed_json, write_sealed_json

Damage = Callable[[Path], None]


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def without_its_end(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def deleted(path: Path) -> None:
    path.unlink()


def scribbled(path: Path) -> None:
    path.write_bytes(b"not at all what was here")


def zeroed(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def flipped(place: float) -> Damage:
    """Flip one bit at a place from 0 (the beginning) to 1 (the end)."""

    def flip(path: Path) -> None:
        data = bytearray(path.read_bytes())
        data[int(place * (len(data) - 1))] ^= 0x10
        path.write_bytes(bytes(data))

    flip.__name__ = f"flipped at {place}"
    return flip


ANY_FILE: tuple[Damage, ...] = (
    truncated, without_its_end, emptied, deleted, scribbled, zeroed, flipped(0), flipped(0.5), flipped(1),
)  # fmt: skip


def edit_sealed(path: Path, **changes: Any) -> None:
    """Change top-level entries of a sealed JSON file."""
    write_sealed_json(path, {**read_sealed_json(path), **changes})


def edit_json(path: Path, **changes: Any) -> None:
    """Change top-level entries of a JSON file."""
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **changes}), encoding="utf-8")
