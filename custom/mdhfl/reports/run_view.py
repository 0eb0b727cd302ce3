"""One run as the page shows it: curves, divergence, confusion, costs. Plain values for the template."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mdhfl.methods import METHODS
from mdhfl.metrics import HEADLINES, SCORES
from mdhfl.reports.figures import (
    MARKERS,
    PALETTE,
    PHASE_COLOURS,
    Line,
    draw_curves,
    draw_first_and_last,
    draw_heat_map,
    draw_stacked,
    shorten,
)
from mdhfl.reports.gallery import Gallery, Picture
from mdhfl.reports.groups import is_alone
from mdhfl.reports.runs import Federation, Run, mean_of, number_or_none
from mdhfl.reports.story import divergence_in_the_end
from mdhfl.server.rows import seconds_of

CONFUSION_SITES = 12  # confusion matrices are drawn for so many sites of a run
DRAWN_PAIRS = 15  # pairs of sites with a line of their own
LISTED_PAIRS = 30  # ordered pairs in the table
DIRECTION = "KL(other || site)"


def missing_classes(run: Run, *, site: str, federation: Federation) -> list[str]:
    """Return the classes that a site has no training image of, from its answers or its card."""
    last = run.last_row(site) or {}
    for source in (run.summary["sites"].get(site) or {}, last.get("about") or {}, federation.sites.get(site) or {}):
        if source.get("missing_classes") is not None:
            return [str(name) for name in source["missing_classes"]]
    return []


def curves(run: Run, *, gallery: Gallery, prefix: str, colours: Mapping[str, str]) -> list[Picture]:
    """Draw each score over rounds, a line per site and the mean over sites."""
    pictures = []
    for score in HEADLINES:
        title = SCORES[score].title
        lines = [
            Line(
                label=site,
                x=range(run.last_round + 1),
                y=_by_round(run, site, score=score),
                colour=colours[site],
                marker=MARKERS[i % len(MARKERS)],
            )
            for i, site in enumerate(run.sites)
        ]
        if len(lines) > 1:
            means = [mean_of(values) for values in zip(*(line.y for line in lines), strict=True)]
            y = [np.nan if value is None else value for value in means]
            lines.append(Line(label="mean", x=lines[0].x, y=y, colour="#555555", marker="", emphasis=True))
        png = draw_curves(lines, title=title, y_label="test part", y_range=(0, 1))
        alt = f"{title} on the clean test part by round, a line per site: {', '.join(run.sites)}"
        pictures.append(gallery.add_chart(f"{prefix}-rounds-{score}", png, alt=alt))
    return pictures


def _by_round(run: Run, site: str, *, score: str) -> list[float]:
    values = {int(row["round"]): number_or_none((row.get("test") or {}).get(score)) for row in run.rows_of(site)}
    found = [values.get(number) for number in range(run.last_round + 1)]
    return [np.nan if value is None else value for value in found]


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


def confusions(run: Run, *, gallery: Gallery, prefix: str) -> list[Picture]:
    """Draw the last confusion matrix of each site, rows normalised; classes without test images are marked."""
    pictures = []
    for site in run.sites[:CONFUSION_SITES]:
        row = run.last_row(site)
        counts = np.asarray(((row or {}).get("test") or {}).get("confusion") or [], dtype=np.float64)
        if row is None or counts.ndim != 2 or not counts.size:
            continue
        names = run.classes if len(run.classes) == len(counts) else [f"class {i}" for i in range(len(counts))]
        totals = counts.sum(axis=1, keepdims=True)
        shares = np.divide(counts, totals, out=np.full_like(counts, np.nan), where=totals > 0)
        labels = [
            name if total else f"{shorten(name, 13)} (absent)" for name, total in zip(names, totals[:, 0], strict=True)
        ]
        png = draw_heat_map(
            shares, rows=labels, columns=names, title=site, x_label="answer", y_label="true class (% of its images)"
        )
        absent = [name for name, total in zip(names, totals[:, 0], strict=True) if not total]
        caption = f"{run.architecture(site)}, round {row['round']}, {int(counts.sum())} test images."
        caption += f" Hatched: no test image of {', '.join(absent)}." if absent else ""
        alt = f"Confusion matrix of {site}: share of each true class given each answer"
        pictures.append(gallery.add_chart(f"{prefix}-confusion-{site}", png, alt=alt, caption=caption))
    return pictures


def recall_rows(run: Run, *, federation: Federation) -> list[dict[str, Any]]:
    """Return a row per class: its recall at each site, and whether the site lacks it in training."""
    lacking = {site: set(missing_classes(run, site=site, federation=federation)) for site in run.sites}
    rows = []
    for i, name in enumerate(run.classes):
        cells = []
        for site in run.sites:
            recall = (run.summary["sites"].get(site) or {}).get("recall") or []
            cells.append(
                {"value": number_or_none(recall[i]) if i < len(recall) else None, "lacks": name in lacking[site]}
            )
        rows.append({"name": name, "cells": cells})
    return rows


def control_rows(run: Run) -> list[dict[str, Any]]:
    """Return a row per site with a twin that trained alone: what sharing brought it, on its own images."""
    rows = []
    for site in run.sites:
        row = run.last_row(site) or {}
        if control := row.get("control"):
            ours, alone = row["test"], control["test"]
            gains = zip(run.classes, ours["recall"] or (), alone["recall"] or (), strict=False)
            rows.append(
                {
                    "site": site,
                    **{name: control[name] for name in ("difference", "low", "high", "harmed")},
                    "helped": control["low"] > 0,
                    "sharing": ours["macro_f1"],
                    "alone": alone["macro_f1"],
                    "recalls": [(name, a - b) for name, a, b in gains if a is not None and b is not None],
                }
            )
    return rows


def costs(run: Run, *, gallery: Gallery, prefix: str) -> list[Picture]:
    """Draw seconds by phase, and bytes each way, per site."""
    seconds = {site: _phase_sums(run, site) for site in run.sites}
    phases = list(dict.fromkeys([*PHASE_COLOURS, *(phase for found in seconds.values() for phase in found)]))
    series = {phase: [seconds[site].get(phase, 0.0) for site in run.sites] for phase in phases}
    time = draw_stacked(
        run.sites, series, colours=PHASE_COLOURS, title="Seconds by phase", x_label="seconds, all rounds"
    )
    traffic = {way: [_bytes(run, site, way) for site in run.sites] for way in ("up", "down")}
    largest = max((*traffic["up"], *traffic["down"]))
    unit, name = (1e6, "MB") if largest >= 1e6 else (1e3, "kB")
    scaled = {f"{way} ({'to' if way == 'up' else 'from'} server)": [value / unit for value in values]
              for way, values in traffic.items()}  # fmt: skip
    colours = dict(zip(scaled, ("#0072B2", "#E69F00"), strict=True))
    sent = draw_stacked(run.sites, scaled, colours=colours, title="Traffic", x_label=f"{name}, all rounds")
    return [
        gallery.add_chart(f"{prefix}-seconds", time, alt="Seconds by phase for each site, stacked bars"),
        gallery.add_chart(f"{prefix}-bytes", sent, alt="Bytes sent up and down for each site, stacked bars"),
    ]


def cost_rows(run: Run) -> list[dict[str, Any]]:
    """Return a row per site: seconds by phase, bytes each way."""
    return [
        {
            "site": site,
            "seconds": _phase_sums(run, site),
            "up": _bytes(run, site, "up"),
            "down": _bytes(run, site, "down"),
        }
        for site in run.sites
    ]


def _phase_sums(run: Run, site: str) -> dict[str, float]:
    sums: dict[str, float] = {}
    for row in run.rows_of(site):
        for phase, value in seconds_of(row).items():
            sums[phase] = sums.get(phase, 0.0) + value
    return sums


def _bytes(run: Run, site: str, way: str) -> float:
    return sum(float((row.get("bytes") or {}).get(way) or 0) for row in run.rows_of(site))
