"""A bundle's MONAI transforms, with plain tensors in and out.

MONAI wraps images into MetaTensor, which records every transform; a network runs about 30 % slower on it, and a flip
takes three times as long. The switch that turns it off is global to the process: here it is turned only for a call.
"""

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from monai.data import get_track_meta, set_track_meta
from monai.transforms import Compose

from mdhfl.learning.symmetries import symmetries_of

# Pillow's pixels are read-only until they are stacked; nothing here writes into them.
warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
# Where pydicom is installed, MONAI warns of a reader that nobody asked for, and logs what that one would need.
warnings.filterwarnings("ignore", message="NvImgCodecPydicomReader")
logging.getLogger("monai.data.nvimgcodec_pydicom_plugin").setLevel(logging.ERROR)


class TransformError(ValueError):
    """Not transforms that a federation can use."""


class PlainTransforms:
    """Dictionary transforms in a row: {"image": ...} -> {"image": plain tensor}."""

    def __init__(self, transforms: Sequence[Callable[[Any], Any]] | Compose, *, track_meta: bool) -> None:
        """Compose the transforms.

        Args:
            transforms: as parsed from a bundle.
            track_meta: whether MONAI may keep metadata between them. Loading needs it where a transform asks the
                image for its channel dimension; flips and rotations only pay for it.

        Raises:
            TransformError: something else than transforms.
        """
        steps = [transforms] if callable(transforms) else transforms
        if not isinstance(steps, (list, tuple)) or not all(callable(step) for step in steps):
            raise TransformError(f"expected a list of transforms, got {transforms!r}")
        self.compose = Compose(list(steps))
        self.track_meta = track_meta
        self.symmetries = symmetries_of(self.compose.transforms)

    def __call__(self, item: dict[str, Any]) -> dict[str, Any]:
        """Apply the transforms to one image."""
        with _tracking_meta(self.track_meta):
            changed = dict(self.compose(item))
        return {**changed, "image": _plain(changed["image"])}

    def batch(self, images: Any) -> Any:
        """Apply the transforms to each image of a (B, 3, S, S) tensor and stack the results.

        The same results as one call an image, without what MONAI's Compose and the switch cost each time; and, where
        they only flip and turn, without a call an image.
        """
        import torch

        if self.symmetries is not None:
            return self.symmetries(images)
        changed = []
        with _tracking_meta(self.track_meta):
            for image in images:
                item: Any = {"image": image}
                for transform in self.compose.transforms:
                    item = transform(item)
                changed.append(_plain(item["image"]))
        return torch.stack(changed)

    def set_random_state(self, seed: int) -> "PlainTransforms":
        """Seed every random transform; `seed` in [0, 2**32)."""
        self.compose.set_random_state(seed=seed)
        return self


class WithoutMeta:
    """One array transform, a plain tensor in and out.

    MONAI's conversions lay a batch out anew, channel by channel; networks here are in channels_last and would turn it
    back at every step, so a batch that comes in channels_last leaves in it. The numbers are the same.
    """

    def __init__(self, transform: Callable[[Any], Any]) -> None:
        self.transform = transform

    def __call__(self, images: Any) -> Any:
        """Apply the transform to images of any shape."""
        with _tracking_meta(False):
            transformed = _plain(self.transform(images))
        if images.ndim == 4 and images.is_contiguous(memory_format=torch.channels_last):
            return transformed.contiguous(memory_format=torch.channels_last)
        return transformed


def _plain(image: Any) -> Any:
    from monai.data import MetaTensor

    return image.as_tensor() if isinstance(image, MetaTensor) else image


@contextmanager
def _tracking_meta(wanted: bool) -> Iterator[None]:
    before = get_track_meta()
    set_track_meta(wanted)
    try:
        yield
    finally:
        set_track_meta(before)
