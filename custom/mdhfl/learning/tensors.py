"""Tensors on disk: written whole, read without pickle."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mdhfl.files import StateError, write_atomically


def save_tensors(path: Path, values: Mapping[str, Any]) -> None:
    """Write tensors and plain values with torch.save, atomically. Raises StateError."""
    import torch

    write_atomically(path, lambda file: torch.save(dict(values), file))


def load_tensors(path: Path) -> dict[str, Any]:
    """Read what `save_tensors` wrote; a file with anything but tensors and plain values is refused.

    Raises:
        StateError: the file is damaged or holds other objects.
    """
    import torch

    try:
        return dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:
        raise StateError(
            f"{path}: cannot be read ({type(error).__name__}); restore it from a backup or delete it"
        ) from error
