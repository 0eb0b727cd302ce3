"""Decoded images on disk, so that many runs on one federation decode them once and share the memory."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mdhfl.files import write_atomically
from mdhfl.learning.images import Decoded, Keep

if TYPE_CHECKING:
    from mdhfl.learning.bundle import LoadedBundle


class ImageCache:
    """A folder of uint8 arrays, one for each list of images, way of decoding and size.

    An array that is found is taken as it is: the images behind it are read and checked only once. Keep the folder where
    only its owner can write.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def keeper(self, *, decoding: str, image_size: int) -> Keep:
        """Return a `keep` for one way of decoding.

        Args:
            decoding: identifies the deterministic transforms, see `LoadedBundle`.
            image_size: S in pixels.
        """
        return partial(self._keep, f"{decoding}/{image_size}", image_size)

    def _keep(
        self, how: str, size: int, items: Sequence[Mapping[str, Any]], decode_all: Callable[[], Decoded]
    ) -> Decoded:
        digests = [str(item["digest"]) for item in items]
        name = hashlib.sha256(json.dumps([how, digests]).encode()).hexdigest()
        path, shape = self.folder / f"{name}.npy", (len(digests), 3, size, size)
        kept = _kept(path, shape=shape)
        if kept is None:
            images, _ = decode_all()
            write_atomically(path, lambda file: np.save(file, images))
            kept = np.load(path, mmap_mode="c" if len(digests) else None)
        return kept, digests


def _kept(path: Path, *, shape: tuple[int, ...]) -> np.ndarray | None:
    """What is kept, mapped and not read; None where there is nothing, or a file that is cut or something else."""
    try:
        if not path.is_file():
            return None
        images = np.load(path, mmap_mode="c" if shape[0] else None)
    except (OSError, ValueError, EOFError):
        return None
    return images if images.shape == shape and images.dtype == np.uint8 else None


def how_to_read(bundle: "LoadedBundle", *, image_size: int, cache: ImageCache | None) -> dict[str, Any]:
    """Return the arguments that make the functions of `data.py` read images as a bundle wants them.

    Args:
        bundle: whose network will see them.
        image_size: S in pixels.
        cache: of images that were decoded before, if there is one.
    """
    how: dict[str, Any] = {"decode": bundle.deterministic_transforms, "image_size": image_size}
    if cache is not None:
        how["keep"] = cache.keeper(decoding=bundle.decoding, image_size=image_size)
    return how
