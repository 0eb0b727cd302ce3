"""Answers said less precisely: what a site may do to its knowledge before it leaves. Pure functions of (M, C) rows.

Fewer classes, coarser numbers and a higher temperature: Shokri, Stronati, Song, Shmatikov, "Membership Inference
Attacks Against Machine Learning Models", S&P 2017, section VIII. They lessen what a row says; none of them bounds it,
and no epsilon belongs to any of them. Whoever knows the temperature can undo it, as far as the precision allows.
"""

import numpy as np
from numpy.typing import NDArray

from mdhfl.sharing.teaching import rows_of_sum_one

Rows = NDArray[np.floating]
MOST_BITS = 8  # of a number on a grid; float16, which carries them, tells their steps apart
HALF = 16  # bits of a float16 number: no grid


def softened(rows: Rows, *, temperature: float) -> NDArray[np.float32]:
    """Return softmax(z / T) of answers softmax(z): each probability to the power 1 / T, rows brought to sum 1.

    Args:
        rows: (M, C) probabilities.
        temperature: T, above 0; above 1 the rows become more even.

    Source: Hinton, Vinyals, Dean, arXiv 1503.02531; as a defence, see the module.
    """
    with np.errstate(under="ignore"):  # 0 stays 0
        powers = _of_largest_one(rows) ** (1 / temperature)
    return rows_of_sum_one(powers)


def top_classes(rows: Rows, *, count: int) -> NDArray[np.float32]:
    """Return each row with its largest `count` probabilities as they are, and the rest of its sum spread evenly.

    Spread, not set to 0: a class of probability 0 is a claim that the model does not make, and it has no logarithm,
    which losses and teachers take. The rows still sum to 1 without another rescaling, so that what is kept stays true.

    Args:
        rows: (M, C) probabilities.
        count: at least 1; of equal ones the first classes are kept. With C or more nothing changes.
    """
    values, classes = rows.astype(np.float64), rows.shape[1]
    if count >= classes:
        return rows_of_sum_one(values)
    kept = np.argsort(-values, axis=1, kind="stable")[:, :count]
    top = np.take_along_axis(values, kept, axis=1)
    rest = np.maximum(values.sum(axis=1, keepdims=True) - top.sum(axis=1, keepdims=True), 0.0)
    spread = np.repeat(rest / (classes - count), classes, axis=1)
    np.put_along_axis(spread, kept, top, axis=1)
    return rows_of_sum_one(spread)


def capped(rows: Rows, *, largest: float) -> NDArray[np.float32]:
    """Return rows whose largest probability is at most so large: a surer row is mixed with the even one just so far.

    With m the largest of a row, the row becomes a * row + (1 - a) / C, a = (largest - 1/C) / (m - 1/C): the order of
    its classes stays. (Label smoothing, Szegedy et al., CVPR 2016, with a weight for each row.)

    Args:
        rows: (M, C) probabilities.
        largest: above 1 / C, up to 1.
    """
    values, even = rows.astype(np.float64), 1 / rows.shape[1]
    most = values.max(axis=1, keepdims=True)
    share = np.where(most > largest, (largest - even) / np.where(most > largest, most - even, 1.0), 1.0)
    return rows_of_sum_one(share * values + (1 - share) * even)


def on_grid(rows: Rows, *, bits: int, largest: float = 1.0) -> NDArray[np.float32]:
    """Return rows of whole multiples of 1 / L, L = 2^bits - 1, which sum to L of them: each number has `bits` bits.

    The L units of a row are given to its classes by the largest remainder (Hamilton's method): the whole units that
    each probability holds first, then one to each of the largest remainders, of equal ones to the first classes. One
    bit leaves the name of the likeliest class. (Quantised soft labels: Sattler et al., arXiv 2012.00632.)

    Args:
        rows: (M, C) probabilities.
        bits: from 1 to MOST_BITS.
        largest: what no probability may exceed; C times its whole units must be L or more.
    """
    units, most = 2**bits - 1, whole_units(largest, bits=bits)
    exact = rows_of_sum_one(rows).astype(np.float64) * units
    given = np.minimum(np.floor(exact + 1e-6), most)  # float32 numbers: what was a whole unit may be a little less
    left = units - given.sum(axis=1)
    while (left > 0).any():
        remainder = np.where(given < most, exact - given, -np.inf)
        best = remainder.argmax(axis=1)
        given[np.arange(len(given)), best] += left > 0
        left -= left > 0
    found: NDArray[np.float32] = (given / units).astype(np.float32)
    return found


def whole_units(largest: float, *, bits: int) -> int:
    """Return how many of 2^bits - 1 units a probability may have that must not exceed `largest`."""
    return int(np.floor(largest * (2**bits - 1) + 1e-9))


def left_out(rows: Rows, *, images: NDArray[np.bool_], kind: str) -> NDArray[np.float32]:
    """Return rows that say nothing of some images: 1 / C for every class, or logits of 0.

    The mean over sites then counts the site there as one that does not know. To leave its rows out of the mean would
    take a weight for each row and site, in every lesson and in what each site subtracts of it.

    Args:
        rows: (V * N, C), view by view.
        images: (N,), those that are left out, in all views.
        kind: of the rows, "probabilities" or "logits".
    """
    silent = np.tile(images, len(rows) // len(images))[:, None]
    nothing = 1 / rows.shape[1] if kind == "probabilities" else 0.0
    found: NDArray[np.float32] = np.where(silent, nothing, rows).astype(np.float32)
    return found


def images_left_out(count: int, *, answered: float, seed: int) -> NDArray[np.bool_]:
    """Return (N,), which of N public images a site says nothing of: all but a share of them, at least one answered.

    Args:
        count: N.
        answered: the share, above 0, up to 1.
        seed: of the draw.
    """
    chosen = np.random.default_rng(seed).permutation(count)[: max(1, round(answered * count))]
    silent = np.ones(count, dtype=np.bool_)
    silent[chosen] = False
    return silent


def _of_largest_one(rows: Rows) -> NDArray[np.float64]:
    values: NDArray[np.float64] = rows.astype(np.float64)
    scaled: NDArray[np.float64] = values / values.max(axis=1, keepdims=True)
    return scaled
