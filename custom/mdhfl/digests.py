"""Digests of images, of lists of images and of plain values: what "the same" means, whoever reads it."""

import hashlib
import json
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray


def image_digest(pixels: NDArray[np.uint8]) -> str:
    """Return 16 hexadecimal digits that identify an image by its size and pixels, whatever its file format.

    Args:
        pixels: (height, width, 3) RGB, in any memory layout.
    """
    height, width = pixels.shape[:2]
    return hashlib.sha256(f"{height}x{width}x3:".encode() + pixels.tobytes()).hexdigest()[:16]


def list_digest(lines: Iterable[str]) -> str:
    """Return 64 hexadecimal digits of lines in their order: image digests, or "digest label" each."""
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def values_digest(values: Any) -> str:
    """Return 64 hexadecimal digits of plain values, whatever the order of a mapping's keys."""
    return hashlib.sha256(json.dumps(values, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
