"""Which round's model is a site's best: told by enough validation images, and by several rounds, or not at all.

Rounds are compared by the same images, so what counts is in how many of them two rounds differ. Where a tenth of the
answers does, chance alone moves the score by sqrt(0.1 / n): 10 points with 10 images, 4.5 with 50. And the highest of
many such scores is a lucky one: a mean over several rounds is less so.
"""

from collections.abc import Sequence

ENOUGH_IMAGES = 50  # of validation, below which no round is called the best
ROUNDS = 3  # over which the score is averaged: a round's own and those before it


def steady_score(scores: Sequence[float], *, images: int) -> float | None:
    """Return the score by which a round competes for the best; None where it does not.

    Args:
        scores: macro-F1 on the validation part by round, the round's own last.
        images: of the validation part.
    """
    if images < ENOUGH_IMAGES or len(scores) < ROUNDS:
        return None
    return sum(scores[-ROUNDS:]) / ROUNDS


def why_none(*, images: int) -> str:
    """Say why a site has no best model, as the end of a sentence."""
    if images < ENOUGH_IMAGES:
        return f"the site has {images} validation images, and fewer than {ENOUGH_IMAGES} do not tell rounds apart"
    return f"a best model is chosen by the mean score of {ROUNDS} rounds, which the site has not seen"
