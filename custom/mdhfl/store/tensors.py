"""Tensors on disk: sealed, read without pickle."""

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import IO, Any

from mdhfl.store.sealed import Damaged, read_sealed, write_sealed


def save_tensors(path: Path, values: Mapping[str, Any]) -> None:
    """Write tensors and plain values with torch.save, sealed; see `write_sealed`."""
    import torch

    def write(file: IO[bytes]) -> None:
        torch.save(dict(values), file)

    write_sealed(path, write)


def load_tensors(path: Path) -> dict[str, Any]:
    """Read what `save_tensors` wrote, or what it wrote before if that is damaged.

    Raises:
        Damaged: both generations are damaged or hold anything but tensors and plain values.
    """
    return read_sealed(path, tensors_of)


def tensors_of(path: Path, payload: bytes) -> dict[str, Any]:
    """Return the values in an unsealed payload. Raises Damaged if there are other objects in it."""
    import torch

    try:
        return dict(torch.load(BytesIO(payload), map_location="cpu", weights_only=True))
    except Exception as error:
        raise Damaged(f"{path}: cannot be read ({type(error).__name__})") from error
