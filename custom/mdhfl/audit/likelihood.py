"""The likelihood-ratio attack on membership (LiRA), on scores that are there already. Pure.

Carlini et al., "Membership Inference Attacks From First Principles", IEEE S&P 2022, arXiv 2112.03570: an image's score
under the model in question is compared with its scores under shadow models that were trained with it, and under such
that were not. With few shadow models one variance serves all images, as they recommend.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
SMALLEST_VARIANCE = 1e-6


def confidence(logits: NDArray[np.floating], labels: NDArray[np.integer]) -> Floats:
    """Return log(p_y / (1 - p_y)), (..., M), nearly normal (section IV), for (..., M, C) logits and (M,) labels."""
    scores = logits.astype(np.float64)
    own = np.take_along_axis(scores, np.broadcast_to(labels[:, None], (*scores.shape[:-1], 1)), axis=-1)
    others = np.where(np.arange(scores.shape[-1]) == labels[:, None], -np.inf, scores)
    largest = others.max(axis=-1, keepdims=True)
    rest = np.log(np.exp(others - largest).sum(axis=-1)) + largest[..., 0]
    found: Floats = own[..., 0] - rest
    return found


def likelihood_ratio(scores: Floats, shadow_scores: Floats, inside: NDArray[np.bool_]) -> Floats:
    """Return the log likelihood ratio of "was trained on" to "was not", image by image.

    Normal densities of one variance around an image's two means. With few shadow models the gap between its means is
    mostly noise, so it is drawn towards the mean gap of all images, as far as the gaps vary by no more than chance
    (empirical Bayes: Efron, Morris, "Data analysis using Stein's estimator and its generalizations", 1975).

    Args:
        scores: (M,) under the model in question.
        shadow_scores: (K, M) under the shadow models.
        inside: (K, M), whether a shadow model was trained on an image; each image is in one at least, and out of one.

    Returns:
        (M,) log likelihood ratios.
    """
    count_in, count_out = inside.sum(axis=0), (~inside).sum(axis=0)
    mean_in = np.average(shadow_scores, axis=0, weights=inside)
    mean_out = np.average(shadow_scores, axis=0, weights=~inside)
    gaps = mean_in - mean_out
    variance = _variance(shadow_scores, np.where(inside, mean_in, mean_out), gaps=gaps)
    chance = float((variance * (1 / count_in + 1 / count_out)).mean())
    kept = max(0.0, 1 - chance / max(float(gaps.var()), SMALLEST_VARIANCE))
    gaps = gaps.mean() + kept * (gaps - gaps.mean())
    ratio: Floats = (scores - (mean_in + mean_out) / 2) * gaps / variance
    return ratio


def balanced_halves(count: int, *, shadows: int, random: np.random.Generator) -> NDArray[np.bool_]:
    """Return (K, M): which images each shadow model is trained on; every image is in exactly half of the models.

    Args:
        count: M, at least 2.
        shadows: K, even: each second one takes what the one before leaves.
        random: decides the halves.
    """
    inside = np.zeros((shadows, count), dtype=np.bool_)
    for first in range(0, shadows, 2):
        chosen = random.permutation(count)[: count // 2]
        inside[first, chosen] = True
        inside[first + 1] = ~inside[first]
    return inside


def _variance(shadow_scores: Floats, means: Floats, *, gaps: Floats) -> float:
    """Return one variance for all images; of two shadow models, which leave none around their means, that of gaps."""
    free = shadow_scores.size - 2 * shadow_scores.shape[1]  # each image has two means
    squares = float(((shadow_scores - means) ** 2).sum())
    return float(max(squares / free if free else gaps.var() / 2, SMALLEST_VARIANCE))
