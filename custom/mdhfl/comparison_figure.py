"""A picture of a comparison: one panel a federation, one group of bars a noise, one bar a method."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mdhfl.comparison_table import SHORT_TITLES, Found


def draw(found: Sequence[Found], path: Path, *, metric: str = "macro_f1") -> None:
    """Write an SVG with means over seeds and, as whiskers, the lowest and the highest seed."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "mdhfl"  # the same figure has the same bytes
    from matplotlib import pyplot as plt

    federations = list(dict.fromkeys(one.cell.federation for one in found))
    noises = list(dict.fromkeys(one.cell.noise for one in found))
    methods = list(dict.fromkeys(one.cell.method for one in found))
    width = max(6.0, 0.16 * len(noises) * len(methods) + 2.5)
    figure, axes = plt.subplots(len(federations), 1, figsize=(width, 2.6 * len(federations) + 0.6), squeeze=False)
    colours = plt.get_cmap("tab20").colors  # type: ignore[attr-defined]
    step = 0.8 / len(methods)
    for axis, federation in zip(axes[:, 0], federations, strict=True):
        for number, method in enumerate(methods):
            for place, noise in enumerate(noises):
                scores = [
                    one.score(metric)
                    for one in found
                    if (one.cell.federation, one.cell.noise, one.cell.method) == (federation, noise, method)
                ]
                if not scores:
                    continue
                mean = float(np.mean(scores))
                axis.bar(
                    place - 0.4 + (number + 0.5) * step,
                    mean,
                    width=0.9 * step,
                    color=colours[number % len(colours)],
                    yerr=[[mean - min(scores)], [max(scores) - mean]],
                    error_kw={"elinewidth": 0.8},
                    label=method if place == 0 else None,
                )
        axis.set_xticks(range(len(noises)), noises)
        axis.set_ylabel(f"{SHORT_TITLES[metric]}, %", fontsize=9)
        axis.set_title(federation, loc="left", fontsize=10)
        axis.spines[["top", "right"]].set_visible(False)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", fontsize=8, frameon=False)
    figure.tight_layout(rect=(0, 0, 1 - 2.0 / width, 1))
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
