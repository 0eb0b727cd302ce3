"""A network's state as one vector, and back."""

import hashlib
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

State = Mapping[str, Tensor]


def layout_of(state: State) -> str:
    """Return 64 hexadecimal digits that identify the names and shapes of a state's floating-point entries."""
    lines = [f"{name} {tuple(value.shape)}" for name, value in _shared(state)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def flatten(state: State) -> NDArray[np.float32]:
    """Return the floating-point entries of a state_dict as one (M,) vector, in the state's order."""
    return torch.cat([value.detach().reshape(-1).cpu().float() for _, value in _shared(state)]).numpy()


def unflatten(values: NDArray[np.float32], *, like: State) -> dict[str, Tensor]:
    """Return a state_dict with a vector's numbers and, for what is not floating-point, the entries of `like`.

    Raises:
        ValueError: the vector has another length than the state.
    """
    expected = sum(value.numel() for _, value in _shared(like))
    if values.shape != (expected,):
        raise ValueError(f"expected a vector of {expected} weights for this network, got shape {values.shape}")
    pieces = torch.from_numpy(np.array(values, dtype=np.float32)).split([v.numel() for _, v in _shared(like)])
    new = {name: piece.reshape(v.shape) for (name, v), piece in zip(_shared(like), pieces, strict=True)}
    return {name: new.get(name, value) for name, value in like.items()}


def _shared(state: State) -> list[tuple[str, Tensor]]:
    return [(name, value) for name, value in state.items() if value.is_floating_point()]
