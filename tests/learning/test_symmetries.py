"""Flips and turns of a batch are those that MONAI gives image by image, from the same random numbers."""

import copy
from typing import Any

import pytest
import torch
from monai.transforms import RandFlipd, RandGaussianNoised, RandRotate90d

from mdhfl.learning.bundle import built_in_bundles, load_bundle
from mdhfl.learning.symmetries import symmetries_of
from mdhfl.learning.transforms import PlainTransforms

SOME = {
    "flip": [RandFlipd("image", prob=0.5, spatial_axis=0)],
    "both axes": [RandFlipd("image", prob=0.7)],
    "last axis": [RandFlipd(["image"], prob=0.5, spatial_axis=-1)],
    "turn": [RandRotate90d("image", prob=0.75, max_k=3)],
    "other plane": [RandRotate90d("image", prob=0.9, max_k=4, spatial_axes=(1, 0))],
    "three": [RandFlipd("image", prob=0.5, spatial_axis=1), RandRotate90d("image", prob=0.5), RandFlipd("image", 0.5)],
}


def one_by_one(transforms: PlainTransforms, images: torch.Tensor) -> torch.Tensor:
    return torch.stack([transforms({"image": image})["image"] for image in images])


@pytest.mark.parametrize("name", SOME)
def test_a_batch_is_moved_as_its_images_are(name: str) -> None:
    images = torch.randint(0, 256, (64, 3, 5, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    transforms = PlainTransforms(copy.deepcopy(SOME[name]), track_meta=False)
    assert transforms.symmetries is not None
    for seed in (0, 1):
        expected = one_by_one(transforms.set_random_state(seed), images)
        got = transforms.set_random_state(seed).batch(images)
        assert torch.equal(got, expected)
        assert got.dtype == torch.uint8
        assert not torch.equal(got, images)
        assert len({tuple(row.flatten().tolist()) for row in got}) > 1
    # The next batch goes on in the same stream.
    transforms.set_random_state(0)
    one_by_one(transforms, images)
    expected = one_by_one(transforms, images)
    transforms.set_random_state(0).batch(images)
    assert torch.equal(transforms.batch(images), expected)


class OwnFlip(RandFlipd):
    """A subclass may do anything."""


@pytest.mark.parametrize(
    "transforms",
    [
        [RandGaussianNoised("image", prob=0.5)],
        [RandFlipd("image", prob=0.5), RandGaussianNoised("image", prob=0.5)],
        [RandFlipd(["image", "label"], prob=0.5, allow_missing_keys=True)],
        [OwnFlip("image", prob=0.5)],
        [RandFlipd("image", prob=0.5, lazy=True)],
        [],
    ],
    ids=["noise", "mixed", "two keys", "subclass", "lazy", "none"],
)
def test_everything_else_is_left_to_monai(transforms: list[Any]) -> None:
    assert symmetries_of(transforms) is None


@pytest.mark.parametrize("name", built_in_bundles())
def test_our_bundles_only_flip_and_turn(name: str) -> None:
    try:
        bundle = load_bundle(name, num_classes=3, image_size=32)
    except ValueError as error:
        pytest.skip(str(error))
    assert bundle.random_transforms is not None
    assert bundle.random_transforms.symmetries is not None
