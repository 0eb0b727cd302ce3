"""Scores by round: whether training was long enough, and when methods part."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mdhfl.comparison.figure import COLOURS, pyplot
from mdhfl.metrics import SCORES
from mdhfl.server.journal import read_rows
from mdhfl.showing.sheets import to_csv

SCORE = "macro_f1"  # on each site's own test images, the mean over sites, in per cent
FIELDS = ("federation", "noise", "method", "seed", "round", SCORE)


def curve_of(run: Path) -> list[float]:
    """Return the mean over sites by round of a run's folder, in per cent, from the warm-up on."""
    found: dict[int, list[float]] = {}
    for row in read_rows(run / "results.jsonl"):
        if row["status"] == "ok" and row["test"][SCORE] is not None:
            found.setdefault(row["round"], []).append(100 * row["test"][SCORE])
    return [round(float(np.mean(found[number])), 3) for number in sorted(found)]


def write_curves(rows: Sequence[Mapping[str, Any]], out: Path) -> None:
    """Write rounds.csv, and rounds.svg with a panel a federation and noise; rows have FIELDS."""
    (out / "rounds.csv").write_text(to_csv(rows, columns=FIELDS), encoding="utf-8", newline="")
    draw_curves(rows, out / "rounds.svg")


def draw_curves(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write an SVG: the mean over seeds by round, a line a method."""
    plt = pyplot()
    panels = list(dict.fromkeys((row["federation"], row["noise"]) for row in rows))
    methods = list(dict.fromkeys(row["method"] for row in rows))
    figure, axes = plt.subplots(1, len(panels), figsize=(2.9 * len(panels) + 2.3, 2.9), squeeze=False, sharey=True)
    for axis, panel in zip(axes[0], panels, strict=True):
        for number, method in enumerate(methods):
            here = [row for row in rows if (row["federation"], row["noise"], row["method"]) == (*panel, method)]
            rounds = sorted({int(row["round"]) for row in here})
            means = [np.mean([float(row[SCORE]) for row in here if int(row["round"]) == number]) for number in rounds]
            axis.plot(rounds, means, color=COLOURS[number % len(COLOURS)], marker="o", markersize=3, label=method)
        axis.set_title(", ".join(panel), loc="left", fontsize=9)
        axis.set_xlabel("round", fontsize=9)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0, 0].set_ylabel(f"{SCORES[SCORE].title}, own, %", fontsize=9)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", fontsize=8, frameon=False)
    figure.tight_layout(rect=(0, 0, 1 - 2.3 / (2.9 * len(panels) + 2.3), 1))
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
