"""MONAI's random flips and quarter turns on a whole batch: the same draws and pixels, without a call an image."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from monai.transforms import RandFlipd, RandRotate90d
from monai.transforms.utils import map_spatial_axes
from torch import Tensor

Move = tuple[str, tuple[int, ...], int]  # "flip" or "turn", dimensions of a (B, 3, S, S) batch, quarter turns
IMAGE_DIMENSIONS = 3  # channel, height, width


def symmetries_of(transforms: Sequence[Any]) -> "Callable[[Tensor], Tensor] | None":
    """Return what moves a (B, 3, S, S) batch as the transforms move its images one by one; None for other transforms.

    Args:
        transforms: MONAI's, in their order; their random states are used.
    """
    return partial(_move, transforms) if transforms and all(map(_is_known, transforms)) else None


def _is_known(transform: Any) -> bool:
    known = type(transform) in (RandFlipd, RandRotate90d)  # a subclass may do anything
    return known and transform.keys == ("image",) and not transform.lazy


def _move(transforms: Sequence[Any], images: Tensor) -> Tensor:
    groups: dict[tuple[Move, ...], list[int]] = {}
    for index in range(len(images)):
        groups.setdefault(tuple(filter(None, map(_drawn, transforms))), []).append(index)
    moved = torch.empty_like(images)
    for moves, indices in groups.items():
        part = images[indices]
        for kind, dimensions, quarters in moves:
            part = part.flip(dimensions) if kind == "flip" else part.rot90(quarters, dimensions)
        moved[indices] = part
    return moved


def _drawn(transform: Any) -> Move | None:
    """Let a transform draw for one image; return its move, None for none."""
    transform.randomize(None)
    if not transform._do_transform:
        return None
    if isinstance(transform, RandFlipd):
        return "flip", _dimensions(transform.flipper.spatial_axis), 0
    return "turn", _dimensions(transform.spatial_axes), int(transform._rand_k) % 4


def _dimensions(spatial_axes: Any) -> tuple[int, ...]:
    return tuple(axis + 1 for axis in map_spatial_axes(IMAGE_DIMENSIONS, spatial_axes))
