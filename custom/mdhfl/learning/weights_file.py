"""Weights from a file, read without pickle, into a network."""

from pathlib import Path
from typing import TYPE_CHECKING

from mdhfl.learning.bundle import BundleError, first_line

if TYPE_CHECKING:
    from torch import Tensor, nn


def load_weights(network: "nn.Module", weights: Path, *, what: str) -> None:
    """Load a state_dict into a network; every name and shape must fit.

    Args:
        network: receives the weights.
        weights: a file that `torch.save` wrote from a state_dict.
        what: named in errors.

    Raises:
        BundleError: the file is missing or damaged, holds other objects, or belongs to another network.
    """
    _load(network, read_weights(weights, what=what), weights=weights, what=what)


def start_from(network: "nn.Module", weights: Path, *, what: str) -> None:
    """Load pre-trained weights; a last layer for other classes keeps the weights that it was built with.

    Args:
        network: receives the weights.
        weights: a file that `torch.save` wrote from a state_dict of the same network, for any number of classes.
        what: named in errors.

    Raises:
        BundleError: as `load_weights`, for any layer but the last.
    """
    state, own = read_weights(weights, what=what), network.state_dict()
    for name in _last_layer(own):
        if name in state and _for_other_classes(state[name], own[name]):
            state[name] = own[name]
    _load(network, state, weights=weights, what=what)


def read_weights(weights: Path, *, what: str) -> "dict[str, Tensor]":
    """Read a state_dict without pickle.

    Raises:
        BundleError: the file is missing or damaged, or holds other objects.
    """
    import torch

    if not weights.is_file():
        raise BundleError(f"{what}: no weights at {weights}")
    try:
        state = torch.load(weights, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises UnpicklingError, EOFError, RuntimeError, ...
        raise _misfit(weights, first_line(error), what=what) from error
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise _misfit(weights, type(state).__name__, what=what)
    return state


def _load(network: "nn.Module", state: "dict[str, Tensor]", *, weights: Path, what: str) -> None:
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise _misfit(weights, first_line(error), what=what) from error


def _last_layer(state: "dict[str, Tensor]") -> list[str]:
    """Return the names of the last layer's entries: its weight and, if it has one, its bias."""
    last = next(reversed(state)).rpartition(".")[0]
    return [name for name in state if name.rpartition(".")[0] == last]


def _for_other_classes(found: "Tensor", own: "Tensor") -> bool:
    return found.shape != own.shape and found.shape[1:] == own.shape[1:]


def _misfit(weights: Path, got: str, *, what: str) -> BundleError:
    return BundleError(f"{what}: {weights}: expected a state_dict of this network, got {got}")
