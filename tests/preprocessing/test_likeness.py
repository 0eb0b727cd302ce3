"""Nearly identical pictures are found, all of them; others are not, and the search is not a comparison of all pairs."""

import time

import numpy as np
import pytest
from fakes.raw_images import copied, soft_picture
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageFilter

from mdhfl.preprocessing.arguments import NEAR
from mdhfl.preprocessing.pool.likeness import BYTES, CORRELATION, HASH_BYTES, SMALL, likeness_of, near_pairs

NUMBER = 40


def likenesses(images: list[Image.Image]) -> list[bytes]:
    return [likeness_of(np.asarray(image.convert("RGB"))) for image in images]


def alike(one: bytes, other: bytes, *, within: int) -> bool:
    """The definition, literally."""
    bits = bin(int.from_bytes(one[:HASH_BYTES], "big") ^ int.from_bytes(other[:HASH_BYTES], "big")).count("1")
    left, right = (np.frombuffer(each[HASH_BYTES:], dtype=np.uint8).astype(float) for each in (one, other))
    return one == other or (bits <= within and left.std() * right.std() > 0
                            and np.corrcoef(left, right)[0, 1] >= CORRELATION)  # fmt: skip


CHANGES = {
    "brighter, and a JPEG": lambda image: copied(image),
    "a coarse JPEG": lambda image: copied(image, quality=30),
    "blurred": lambda image: image.filter(ImageFilter.GaussianBlur(1)),
    "more contrast": lambda image: ImageEnhance.Contrast(image).enhance(1.3),
    "half the size": lambda image: image.resize((24, 24)),
    "64 colours": lambda image: image.quantize(64),
    "grey": lambda image: image.convert("L"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_looks_the_same_is_found(change: str) -> None:
    images = [soft_picture(seed) for seed in range(NUMBER)]
    pairs = near_pairs(likenesses([*images, *(CHANGES[change](image) for image in images)]), within=NEAR)
    assert pairs.tolist() == [[seed, seed + NUMBER] for seed in range(NUMBER)]


@pytest.mark.parametrize("turn", [Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.ROTATE_90])
def test_mirrored_and_turned_pictures_are_not_looked_for(turn: Image.Transpose) -> None:
    images = [soft_picture(seed) for seed in range(NUMBER)]
    assert not len(near_pairs(likenesses([*images, *(image.transpose(turn) for image in images)]), within=NEAR))


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), within=st.integers(0, 16), noise=st.floats(0, 40))
def test_every_pair_is_found_and_no_other(seed: int, within: int, noise: float) -> None:
    generator = np.random.default_rng(seed)
    first = generator.integers(0, 256, (12, BYTES), dtype=np.uint8)
    second = first.copy()
    for row in second:  # as many changed bits as may lie on either side of the limit
        bits = np.unpackbits(row[:HASH_BYTES])
        bits[generator.permutation(64)[: generator.integers(0, within + 3)]] ^= 1
        row[:HASH_BYTES] = np.packbits(bits)
        row[HASH_BYTES:] = np.clip(row[HASH_BYTES:] + generator.normal(0, noise, SMALL * SMALL), 0, 255)
    made = [row.tobytes() for row in [*first, *second]]
    wanted = [
        [left, right]
        for left in range(len(made))
        for right in range(left + 1, len(made))
        if alike(made[left], made[right], within=within)
    ]
    assert near_pairs(made, within=within).tolist() == wanted


def test_equal_pictures_are_paired_with_the_first_of_them() -> None:
    one, other = likenesses([soft_picture(1), soft_picture(2)])
    assert near_pairs([], within=NEAR).shape == (0, 2)
    assert near_pairs([one], within=NEAR).shape == (0, 2)
    assert near_pairs([one, other, one, other, one], within=NEAR).tolist() == [[0, 2], [0, 4], [1, 3]]


def test_plain_pictures_are_alike_only_if_they_are_equal() -> None:
    white, grey = (likeness_of(np.full((32, 32, 3), value, dtype=np.uint8)) for value in (255, 128))
    assert near_pairs([white, grey, white], within=NEAR).tolist() == [[0, 2]]


def test_thirty_thousand_pictures_take_seconds() -> None:
    rows = np.random.default_rng(0).integers(0, 256, (30_000, BYTES), dtype=np.uint8)
    rows[-1] = rows[0]
    rows[-1, 0] ^= 0b101
    started = time.process_time()
    assert near_pairs([row.tobytes() for row in rows], within=NEAR).tolist() == [[0, 29_999]]
    assert time.process_time() - started < 10  # all pairs one by one would take a quarter of an hour
