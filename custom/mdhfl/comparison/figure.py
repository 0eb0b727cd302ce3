"""A picture of a comparison: one panel a federation, one group of bars a noise, one bar a method.

Where there is one kind of noise only, the federations are the groups of a single panel.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mdhfl.comparison.columns import COLUMNS, MAIN
from mdhfl.comparison.table import Found

# Okabe and Ito's colours, which colour-blind readers can tell apart: "Color Universal Design", 2008.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#F0E442", "#000000")


def pyplot() -> Any:
    """Return matplotlib's pyplot, set to write SVG; the same figure has the same bytes."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "mdhfl"
    matplotlib.rcParams["text.parse_math"] = False  # a "$" in a title is a dollar
    from matplotlib import pyplot as plt

    return plt


def draw(found: Sequence[Found], path: Path, *, metric: str = MAIN) -> None:
    """Write an SVG with means over seeds and, as whiskers, the lowest and the highest seed."""
    plt = pyplot()
    panels = _panels(found)
    methods = list(dict.fromkeys(one.cell.method for one in found))
    bars = max(len(groups) for groups in panels.values()) * len(methods)
    width = max(6.0, 0.16 * bars + 2.8)
    size = (width, 2.6 * len(panels) + 0.6)
    figure, axes = plt.subplots(len(panels), 1, figsize=size, squeeze=False, sharey=True)
    step = 0.8 / len(methods)
    for axis, (title, groups) in zip(axes[:, 0], panels.items(), strict=True):
        for number, method in enumerate(methods):
            scores = [[one.score(metric) for one in group if one.cell.method == method] for group in groups.values()]
            run = [place for place, seeds in enumerate(scores) if seeds]
            means = np.array([np.mean(scores[place]) for place in run])
            axis.bar(
                [place - 0.4 + (number + 0.5) * step for place in run],
                means,
                width=0.9 * step,
                color=COLOURS[number % len(COLOURS)],
                yerr=[means - [min(scores[place]) for place in run], [max(scores[place]) for place in run] - means],
                error_kw={"elinewidth": 0.8},
                label=method,
            )
        axis.set_xticks(range(len(groups)), [name.replace(" ", "\n", 1) for name in groups], fontsize=9)
        axis.set_ylabel(f"{COLUMNS[metric].short}, %", fontsize=9)
        axis.set_title(title, loc="left", fontsize=10)
        axis.spines[["top", "right"]].set_visible(False)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", fontsize=8, frameon=False)
    figure.tight_layout(rect=(0, 0, 1 - 2.3 / width, 1))
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def _panels(found: Sequence[Found]) -> dict[str, dict[str, list[Found]]]:
    """Return panel title -> group name -> runs."""
    noises = list(dict.fromkeys(one.cell.noise for one in found))
    panels: dict[str, dict[str, list[Found]]] = {}
    for one in found:
        title, group = one.cell.federation, one.cell.noise
        if len(noises) == 1:
            title, group = f"noise: {one.cell.noise}", one.cell.federation
        panels.setdefault(title, {}).setdefault(group, []).append(one)
    return panels
