"""The stain of a set is measured block by block: the numbers are those of all pixels at once, the memory is not."""

import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mdhfl.learning import stain
from mdhfl.learning.stain import BACKGROUND, FAINTEST, STRONGEST, WEAKEST, Stain, restained, stain_of
from mdhfl.preprocessing.drawing.cell import draw_cell
from mdhfl.preprocessing.drawing.kinds import CLASSES
from mdhfl.preprocessing.drawing.scanners import scanner

MB = 1 << 20
Images = NDArray[np.uint8]


def literal_densities(values: NDArray[np.integer], background: NDArray[np.float64]) -> NDArray[np.float64]:
    return -np.log(np.maximum(values, 1.0) / background)


def literal_stain(images: Images) -> Stain:
    """All pixels at once, as the published numbers were computed."""
    pixels = images.transpose(0, 2, 3, 1).reshape(-1, 3)
    background = np.maximum(np.percentile(pixels, BACKGROUND, axis=0), 1.0)
    densities = literal_densities(pixels, background)
    stained = densities.mean(axis=1) > FAINTEST
    return Stain(background=background, density=densities[stained].mean(axis=0) if stained.any() else np.zeros(3))


def literal_restained(images: Images, *, to: Stain) -> Images:
    own = literal_stain(images)
    factor = np.divide(to.density, own.density, out=np.ones(3), where=(own.density > 0) & (to.density > 0))
    factor = np.clip(factor, WEAKEST, STRONGEST)
    changed = np.empty_like(images)
    for channel in range(3):
        density = literal_densities(np.arange(256), own.background[channel])
        table = to.background[channel] * np.exp(-factor[channel] * density)
        changed[:, channel] = np.rint(np.clip(table, 0, 255)).astype(np.uint8)[images[:, channel]]
    return changed


def check_same(images: Images, *, other: Images) -> None:
    """Backgrounds and restained pixels are equal; densities may differ by the rounding of a sum."""
    ours, theirs = stain_of(other), literal_stain(other)
    np.testing.assert_array_equal(ours.background, theirs.background)
    np.testing.assert_allclose(ours.density, theirs.density, rtol=1e-12, atol=0)
    moved = restained(images, to=ours)
    assert moved.dtype == np.uint8
    np.testing.assert_array_equal(moved, literal_restained(images, to=theirs))


def drawn(site: int, *, count: int, size: int) -> Images:
    cells = [
        draw_cell(CLASSES[i % len(CLASSES)], seed=i, scanner=scanner(site, seed=0), size=size) for i in range(count)
    ]
    return np.ascontiguousarray(np.stack(cells).transpose(0, 3, 1, 2))


@st.composite
def any_images(draw: st.DrawFn) -> Images:
    """Noise, one grey, few values, or something like a photograph; from one pixel to a few thousand."""
    random = np.random.default_rng(draw(st.integers(0, 10_000)))
    side = draw(st.integers(1, 20))
    shape = (draw(st.integers(1, 6)), 3, side, side)
    kinds: list[Callable[[], NDArray[np.generic]]] = [
        lambda: random.integers(0, 256, shape),
        lambda: np.full(shape, random.integers(0, 256)),
        lambda: random.choice([0, 1, 10, 254, 255], shape),
        lambda: random.normal(random.uniform(90, 250, (1, 3, 1, 1)), random.uniform(1, 60), shape).clip(0, 255),
    ]
    return draw(st.sampled_from(kinds))().astype(np.uint8)


@settings(max_examples=100, deadline=None)
@given(images=any_images(), other=any_images(), block=st.sampled_from([1, 7, 64, 1 << 16]))
def test_blocks_give_what_all_pixels_at_once_gave(images: Images, other: Images, block: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stain, "BLOCK", block)
        check_same(images, other=other)


@pytest.mark.parametrize("size", [32, 61])
def test_cells_of_two_scanners_give_what_all_pixels_at_once_gave(size: int) -> None:
    first, second = (drawn(site, count=52, size=size) for site in (0, 1))
    check_same(first, other=second)
    check_same(second, other=first)


def test_many_and_large_images_give_what_all_pixels_at_once_gave() -> None:
    """More than one block, whole images together or one image cut."""
    random = np.random.default_rng(0)
    for shape in ((100, 3, 40, 40), (3, 3, 300, 300), (1, 3, 300, 300)):
        images, other = (random.normal(at, 40, shape).clip(0, 255).astype(np.uint8) for at in (150, 215))
        check_same(images, other=other)


def peak_of(call: Callable[[], object]) -> int:
    """Return the most bytes that were allocated at once, numpy's with them."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("shape", [(200, 3, 128, 128), (1, 3, 1800, 1800)])
def test_it_takes_little_memory_beside_the_images(shape: tuple[int, ...]) -> None:
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    assert images.nbytes > 9 * MB
    assert peak_of(lambda: stain_of(images)) < 8 * MB
    own = stain_of(images)
    assert peak_of(lambda: restained(images, to=own)) < images.nbytes + 8 * MB  # the restained ones
