"""Reconstructions on constructed images: a leak is seen, and none is where there is nothing beyond the class mean."""

import numpy as np
import torch

from mdhfl.audit.candidates import Candidates
from mdhfl.audit.inversion import audit_inversion, class_means, inverted, weighted_means

SIZE, CLASSES = 12, 2


def images(count: int, *, around: np.ndarray, spread: float, random: np.random.Generator) -> np.ndarray:
    return (around + random.normal(0, spread, (count, 3, SIZE, SIZE))).clip(0, 1)


def candidates(members: list[np.ndarray], others: list[np.ndarray], public: np.ndarray) -> Candidates:
    def as_bytes(pixels: np.ndarray) -> torch.Tensor:
        return torch.from_numpy((pixels * 255).round().astype(np.uint8))

    labels = [np.full(len(part), label) for parts in (members, others) for label, part in enumerate(parts)]
    return Candidates(
        images=as_bytes(np.concatenate([*members, *others])),
        labels=torch.from_numpy(np.concatenate(labels)),
        members=sum(map(len, members)),
        public=as_bytes(public),
        classes=("a", "b"),
        digest="",
    )


def worlds(seed: int = 0) -> tuple[np.random.Generator, list[np.ndarray], np.ndarray]:
    """Patterns of two classes, and sure answers about 30 public images of each."""
    random = np.random.default_rng(seed)
    patterns = [random.uniform(0.2, 0.8, (3, SIZE, SIZE)) for _ in range(CLASSES)]
    return random, patterns, np.repeat(np.eye(CLASSES) * 0.98 + 0.01, 30, axis=0)


def test_weighted_means_and_class_means_by_hand() -> None:
    public = np.zeros((2, 3, 4, 4))
    public[1] = 1.0
    made = weighted_means(public, np.array([[0.75, 0.5], [0.25, 0.5]]))
    assert made[0].round(6).tolist() == np.full((3, 4, 4), 0.25).tolist()
    assert made[1].round(6).tolist() == np.full((3, 4, 4), 0.5).tolist()
    means = class_means(public, np.array([2, 2]), classes=4)
    assert list(means) == [2]
    assert (means[2] == 0.5).all()


def test_a_site_whose_images_are_all_alike_is_shown_by_public_images_that_are_like_them() -> None:
    random, patterns, answers = worlds()
    own = [images(20, around=pattern, spread=0.02, random=random) for pattern in patterns]
    elsewhere = [images(15, around=random.uniform(0, 1, (3, SIZE, SIZE)), spread=0.3, random=random) for _ in patterns]
    public = np.concatenate([images(30, around=pattern, spread=0.02, random=random) for pattern in patterns])
    found = audit_inversion(candidates(own, elsewhere, public), answers, np.full_like(answers, 0.5))
    assert found is not None
    assert found.images == 40
    assert found.low is not None
    assert found.low > 5  # dB
    assert found.psnr > 25 > found.mean_psnr
    assert found.ssim > 0.9 > found.mean_ssim


def test_a_reconstruction_that_is_no_better_than_the_class_mean_gains_nothing() -> None:
    random, patterns, answers = worlds(seed=1)
    own = [images(20, around=pattern, spread=0.2, random=random) for pattern in patterns]
    elsewhere = [images(30, around=pattern, spread=0.2, random=random) for pattern in patterns]
    public = np.concatenate([images(30, around=pattern, spread=0.2, random=random) for pattern in patterns])
    found = audit_inversion(candidates(own, elsewhere, public), answers, np.full_like(answers, 0.5))
    assert found is not None
    assert found.high is not None
    assert found.high < 0.5
    blind = audit_inversion(candidates(own, elsewhere, public), np.full_like(answers, 0.5), np.full_like(answers, 0.5))
    assert blind is not None
    assert blind.gain < found.gain - 0.5  # answers that say nothing show less


def test_paired_logits_are_inverted_to_the_class_that_the_site_alone_is_sure_of() -> None:
    random, patterns, answers = worlds(seed=2)
    public = np.concatenate([images(30, around=pattern, spread=0.05, random=random) for pattern in patterns])
    made = inverted(public, answers, np.full_like(answers, 0.5))
    for label, pattern in enumerate(patterns):
        errors = [float(((made[label] - other) ** 2).mean()) for other in patterns]
        assert int(np.argmin(errors)) == label
        assert errors[label] < 0.01, pattern.shape


def test_too_few_images_give_no_interval_and_no_common_class_gives_nothing() -> None:
    random, patterns, answers = worlds()
    public = np.concatenate([images(30, around=pattern, spread=0.2, random=random) for pattern in patterns])
    few = [images(3, around=pattern, spread=0.2, random=random) for pattern in patterns]
    found = audit_inversion(candidates(few, few, public), answers, np.full_like(answers, 0.5))
    assert found is not None
    assert (found.images, found.low, found.high) == (6, None, None)
    nothing = [few[0][:0], few[0][:0]]
    assert audit_inversion(candidates(few, nothing, public), answers, np.full_like(answers, 0.5)) is None
