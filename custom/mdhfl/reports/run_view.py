"""One run as the page shows it: curves, confusion, costs. Plain values for the template."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from mdhfl.metrics import HEADLINES, SCORES
from mdhfl.reports.federations import Federation
from mdhfl.reports.figures import MARKERS, PHASE_COLOURS, Line, draw_curves, draw_heat_map, draw_stacked, shorten
from mdhfl.reports.gallery import Gallery, Picture
from mdhfl.reports.runs import Run, mean_of, number_or_none
from mdhfl.server.rows import seconds_of

CONFUSION_SITES = 12  # confusion matrices are drawn for so many sites of a run


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
