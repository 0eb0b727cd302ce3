"""Does alignment align? How far apart the sites' answers on the public set are, as the page shows it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mdhfl.methods import METHODS
from mdhfl.reports.figures import MARKERS, PALETTE, Line, draw_curves, draw_first_and_last
from mdhfl.reports.gallery import Gallery
from mdhfl.reports.groups import is_alone
from mdhfl.reports.runs import Run, number_or_none
from mdhfl.reports.story import answers_kept

DRAWN_PAIRS = 15  # pairs of sites with a line of their own
LISTED_PAIRS = 30  # ordered pairs in the table
DIRECTION = "KL(other || site)"


def divergences(run: Run) -> dict[int, NDArray[np.float64]]:
    """Return round -> (P, P) matrix of KL(column's site || row's site) in nats; NaN where unknown."""
    index = {site: i for i, site in enumerate(run.sites)}
    found: dict[int, NDArray[np.float64]] = {}
    for row in run.rows:
        for other, value in (row.get("divergence") or {}).items():
            if other in index and number_or_none(value) is not None:
                empty = np.full((len(index), len(index)), np.nan)
                found.setdefault(int(row["round"]), empty)[index[row["site"]], index[other]] = value
    return found


def divergence_view(run: Run, *, alone: Run | None, gallery: Gallery, prefix: str) -> dict[str, Any]:
    """Answer "does alignment align?": figures, a table of pairs and one sentence.

    Args:
        run: of sites that share.
        alone: the run to compare with, of the same seed, whose sites train alone; None if there is none.
        gallery: takes the figures.
        prefix: of their names.
    """
    found = divergences(run)
    if not found:
        return {"verdict": _why_no_divergence(run), "pictures": [], "rows": []}
    rounds = sorted(found)
    first, last = found[rounds[0]], found[rounds[-1]]
    titles = (f"Round {rounds[0]}", f"Round {rounds[-1]}")
    heat = draw_first_and_last(
        first, last, names=run.sites, titles=titles, x_label="other site", y_label="site (learns)"
    )
    pictures = [
        gallery.add_chart(
            f"{prefix}-divergence-rounds",
            draw_curves(
                _pair_lines(run.sites, found), title="Divergence between sites", y_label="nats (both ways, mean)"
            ),
            alt="Pairwise divergence between the sites' answers on the public set by round",
            caption="One line per pair: the mean of both directions.",
        ),
        gallery.add_chart(
            f"{prefix}-divergence-first-last",
            heat,
            alt=f"Pairwise divergence in round {rounds[0]} and in round {rounds[-1]} as two heat maps",
            caption=f"{DIRECTION} in nats; row: the site, column: the other. One colour scale for both.",
        ),
    ]
    return {
        "verdict": _against(run, alone) or _verdict(first, last, rounds=(rounds[0], rounds[-1])),
        "pictures": pictures,
        "first": rounds[0],
        "last": rounds[-1],
        "rows": _pair_rows(run.sites, first, last),
    }


def _why_no_divergence(run: Run) -> str:
    if is_alone(run.method):
        return "Local only: sites share no knowledge, so there is no divergence to measure."
    if (run.experiment.get("parameters") or {}).get("blind"):
        return (
            "The sums were blind: the server saw no site's answers, so neither the divergence between sites nor what "
            "each said of the public images is known."
        )
    shares = METHODS[run.method].shares if run.method in METHODS else None
    if shares != "probabilities":
        return f"Sites share {shares or 'nothing'}: divergence is measured between probabilities only."
    return "No divergence between sites is recorded in this run."


def _against(run: Run, alone: Run | None) -> str:
    """Compare how far apart the last models are with those of sites that trained alone, measured alike."""
    ours, theirs = divergence_in_the_end(run), divergence_in_the_end(alone) if alone else None
    if ours is None or theirs is None or alone is None or alone.last_round != run.last_round:
        return ""
    nearer = "nearer to each other than" if ours < theirs else "further apart than" if ours > theirs else "as far as"
    return (
        f"On the public images the sites' last models are {ours:.3f} nats apart (mean over pairs), those of sites that "
        f"trained alone for as many rounds {theirs:.3f}: sharing left them {nearer} training alone."
    )


def divergence_in_the_end(run: Run) -> float | None:
    """Return the mean divergence in nats between the sites' last models on the public images, None if not known.

    All runs are measured alike, those of sites that train alone included: KL over all ordered pairs of sites, the
    public images as they are, with batch statistics of their own.
    """
    found = [answers_kept(run, site) for site in run.sites]
    answers = [each.public.astype(np.float64) for each in found if each is not None and each.public.size]
    if len(answers) < 2 or len({each.shape for each in answers}) > 1:
        return None
    logs = [np.log(each.clip(1e-7)) for each in answers]
    pairs = [(i, j) for i in range(len(answers)) for j in range(len(answers)) if i != j]
    return float(np.mean([(answers[i] * (logs[i] - logs[j])).sum(axis=1).mean() for i, j in pairs]))


def _verdict(first: NDArray[np.float64], last: NDArray[np.float64], *, rounds: tuple[int, int]) -> str:
    both = np.isfinite(first) & np.isfinite(last)
    if rounds[0] == rounds[1] or not both.any():
        return "Divergence is recorded for one round only (or for no pair twice): no change to report."
    before, after = float(first[both].mean()), float(last[both].mean())
    change = f" ({100 * (after / before - 1):+.0f} %)".replace("-", "\N{MINUS SIGN}") if before > 0 else ""
    moved = "moved together" if after < before else "moved apart" if after > before else "kept their distance"
    return (
        f"The mean divergence between sites went from {before:.3f} nats in round {rounds[0]} to {after:.3f} nats in "
        f"round {rounds[1]}{change}: on the public set the sites {moved}."
    )


def _pair_lines(sites: Sequence[str], found: Mapping[int, NDArray[np.float64]]) -> list[Line]:
    rounds = sorted(found)
    both_ways = np.stack([(found[number] + found[number].T) / 2 for number in rounds])
    pairs = [(i, j) for i in range(len(sites)) for j in range(i + 1, len(sites))]
    few = len(pairs) <= DRAWN_PAIRS
    lines = [
        Line(
            label=f"{sites[i]} / {sites[j]}" if few else "_pair",
            x=rounds,
            y=both_ways[:, i, j].tolist(),
            colour=PALETTE[n % 7] if few else "#bbbbbb",
            marker=MARKERS[n % len(MARKERS)] if few else "",
        )
        for n, (i, j) in enumerate(pairs)
    ]
    if len(pairs) > 1:
        mean = [float(np.nanmean(values)) for values in both_ways]
        lines.append(Line(label="mean", x=rounds, y=mean, colour="#555555", marker="", emphasis=True))
    return lines


def _pair_rows(sites: Sequence[str], first: NDArray[np.float64], last: NDArray[np.float64]) -> list[dict[str, Any]]:
    pairs = [(i, j) for i in range(len(sites)) for j in range(len(sites)) if i != j]
    if len(pairs) > LISTED_PAIRS:
        return []
    return [
        {"site": sites[i], "other": sites[j], "first": number_or_none(first[i, j].item()),
         "last": number_or_none(last[i, j].item())}
        for i, j in pairs
    ]  # fmt: skip
