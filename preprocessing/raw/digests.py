"""Digests of images, of the public set and of a site's set: what "the same data" means."""

import hashlib
from collections.abc import Iterable

from mdhfl.preprocessing.raw.records import Pixels


def image_digest(pixels: Pixels) -> str:
    """16 hex digits over the size and the RGB bytes of an image, (height, width, 3) uint8."""
    height, width = pixels.shape[:2]
    return hashlib.sha256(f"{height}x{width}x3:".encode() + pixels.tobytes()).hexdigest()[:16]


def list_digest(lines: Iterable[str]) -> str:
    """64 hex digits over lines in their order: image digests (public set), or "digest label" (a site's set)."""
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
