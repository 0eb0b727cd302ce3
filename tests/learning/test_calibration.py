"""One factor on a network's scores, fitted to held-out images together with the prior: temperature scaling."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mdhfl.learning.calibration import LARGEST, LEAST_IMAGES, SMALLEST, OwnMix, fitted_scale


def literal_loss(z: list[list[float]], labels: list[int], prior: list[float], scale: float) -> float:
    """The mean cross-entropy, image by image."""
    total = 0.0
    for row, label in zip(z, labels, strict=True):
        powers = [math.exp(scale * value + shift) for value, shift in zip(row, prior, strict=True)]
        total -= math.log(powers[label] / sum(powers))
    return total / len(labels)


@given(st.integers(0, 10**6), st.integers(LEAST_IMAGES, 40))
def test_no_other_factor_has_a_smaller_literal_loss(seed: int, images: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(images, 3, generator=generator)
    labels = torch.randint(0, 3, (images,), generator=generator)
    prior = torch.tensor([0.5, 0.3, 0.2]).log()
    found = fitted_scale(z, labels, prior=prior)
    assert SMALLEST <= found <= LARGEST
    fixed = z.tolist(), labels.tolist(), prior.tolist()
    best = literal_loss(*fixed, found)
    for other in (*np.geomspace(SMALLEST, LARGEST, 41), found * 0.99, found * 1.01):
        assert literal_loss(*fixed, min(max(other, SMALLEST), LARGEST)) >= best - 1e-5


@pytest.mark.parametrize("shrunk", [0.2, 1.0, 5.0])
def test_scores_that_were_shrunk_are_brought_back(shrunk: float) -> None:
    """Labels drawn from softmax(z + prior): the factor that fits shrunk z is the one that undoes it."""
    generator = torch.Generator().manual_seed(0)
    z = 2 * torch.randn(20000, 4, generator=generator)
    own = OwnMix(prior=torch.tensor([0.4, 0.3, 0.2, 0.1]).log())
    labels = torch.multinomial(own(z).softmax(dim=1), 1, generator=generator).squeeze(1)
    assert fitted_scale(z * shrunk, labels, prior=own.prior) == pytest.approx(1 / shrunk, rel=0.05)


def test_a_prior_does_not_outweigh_what_an_unsure_network_says_once_it_is_scaled() -> None:
    prior = torch.tensor([0.9, 0.1]).log()
    labels = torch.tensor([0, 1] * 10)
    z = 0.2 * torch.nn.functional.one_hot(labels, 2).float()  # right, and unsure
    assert OwnMix(prior=prior)(z).argmax(dim=1).tolist() == [0] * 20
    scaled = OwnMix(prior=prior, scale=fitted_scale(z, labels, prior=prior))
    assert torch.equal(scaled(z).argmax(dim=1), labels)


def test_a_handful_of_images_fits_nothing() -> None:
    few = LEAST_IMAGES - 1
    assert fitted_scale(torch.randn(few, 3), torch.zeros(few, dtype=torch.int64), prior=torch.zeros(3)) == 1.0
    assert fitted_scale(torch.randn(0, 3), torch.zeros(0, dtype=torch.int64), prior=torch.zeros(3)) == 1.0


@pytest.mark.parametrize(("sign", "expected"), [(1.0, LARGEST), (-1.0, SMALLEST)])
def test_scores_that_are_always_right_or_always_wrong_end_at_the_bounds(sign: float, expected: float) -> None:
    labels = torch.arange(20) % 2
    z = sign * torch.nn.functional.one_hot(labels, 2).float()
    assert fitted_scale(z, labels, prior=torch.zeros(2)) == pytest.approx(expected, rel=1e-6)
