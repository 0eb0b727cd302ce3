"""The report's figures: plain numbers in, PNG bytes out. Matplotlib's Agg only, no global state but its settings."""

import io
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

# Okabe and Ito's colour-blind-safe palette, the yellow last because it is weak on white.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#F0E442")
MARKERS = "osD^vP*X"
PHASE_COLOURS = {"align": "#332288", "train": "#88CCEE", "score": "#DDCC77", "share": "#AA4499"}
UNKNOWN_COLOUR = "#999999"
SETTINGS: dict[Any, Any] = {
    "text.parse_math": False,  # a "$" in a site's name is a dollar
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "legend.fontsize": 8,
}
DPI = 150
LONGEST_LABEL = 22

Values = NDArray[np.float64]
_styled = matplotlib.rc_context(SETTINGS)


@dataclass(frozen=True, kw_only=True)
class Line:
    """One curve: y may hold NaN where there is no value."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    colour: str
    marker: str = "o"
    emphasis: bool = False


def site_colours(sites: Sequence[str]) -> dict[str, str]:
    """Give every site its colour: the palette for up to eight, then evenly spaced ones from viridis."""
    if len(sites) <= len(PALETTE):
        return dict(zip(sites, PALETTE, strict=False))
    shades = matplotlib.colormaps["viridis"](np.linspace(0, 0.95, len(sites)))
    return {site: matplotlib.colors.to_hex(shade) for site, shade in zip(sites, shades, strict=True)}


@_styled
def draw_curves(
    lines: Sequence[Line], *, title: str, y_label: str, y_range: tuple[float, float] | None = None
) -> bytes:
    """Draw curves over rounds."""
    figure, axes = _canvas(4.6, 3.3)
    for line in lines:
        style = {"linewidth": 2.4, "linestyle": "--"} if line.emphasis else {"linewidth": 1.4}
        label = shorten(line.label)
        axes.plot(line.x, line.y, color=line.colour, marker=line.marker, markersize=4, label=label, **style)
    axes.set(title=title, xlabel="round (0 = warm-up)", ylabel=y_label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if y_range:
        axes.set_ylim(*y_range)
    else:
        axes.set_ylim(bottom=0)
    axes.grid(alpha=0.25)
    if len(lines) <= 16:
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2 if len(lines) < 9 else 3)
    return _png(figure)


@_styled
def draw_heat_map(
    values: Values,
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    title: str,
    x_label: str,
    y_label: str,
    largest: float = 1.0,
    percent: bool = True,
) -> bytes:
    """Draw an (R, C) matrix with its numbers; NaN cells are hatched."""
    size = 0.38 if max(values.shape) > 6 else 0.6
    figure, axes = _canvas(2.3 + size * len(columns), 1.7 + size * len(rows))
    _fill_heat_map(axes, values, rows=rows, columns=columns, largest=largest, percent=percent)
    axes.set_title(title)
    axes.set(xlabel=x_label, ylabel=y_label)
    return _png(figure)


@_styled
def draw_first_and_last(
    first: Values, last: Values, *, names: Sequence[str], titles: tuple[str, str], x_label: str, y_label: str
) -> bytes:
    """Draw two (P, P) matrices side by side on one scale; the diagonal is hatched."""
    side = 1.6 + 0.62 * len(names)
    figure = Figure(figsize=(2 * side, side), layout="constrained")
    FigureCanvasAgg(figure)
    largest = float(np.nanmax(np.stack([first, last]), initial=0)) or 1.0
    pair = figure.subplots(1, 2)
    for axes, values, title in zip(pair, (first, last), titles, strict=True):
        _fill_heat_map(axes, values, rows=names, columns=names, largest=largest, percent=False)
        axes.set_title(title)
        axes.set_xlabel(x_label)
    pair[0].set_ylabel(y_label)
    return _png(figure)


@_styled
def draw_bars(
    groups: Sequence[str],
    series: Mapping[str, Sequence[float]],
    *,
    spreads: Mapping[str, Sequence[float]],
    colours: Mapping[str, str],
    title: str,
    y_label: str,
) -> bytes:
    """Draw grouped bars: one cluster per group, one bar per series, with error bars where a spread is above 0."""
    figure, axes = _canvas(max(4.6, 1.0 + 0.22 * len(groups) * (len(series) + 1)), 3.3)
    width = 0.8 / len(series)
    places = np.arange(len(groups))
    for i, (label, heights) in enumerate(series.items()):
        x = places + (i - (len(series) - 1) / 2) * width
        error = np.where(np.asarray(spreads[label]) > 0, spreads[label], np.nan)
        axes.bar(x, heights, width * 0.94, yerr=error, capsize=2, color=colours[label], label=shorten(label, 40))
    axes.set_xticks(places, [shorten(group, 16) for group in groups], **_slant(groups))
    axes.set(title=title, ylabel=y_label, ylim=(0, 1))
    axes.grid(alpha=0.25, axis="y")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return _png(figure)


@_styled
def draw_stacked(
    bars: Sequence[str], series: Mapping[str, Sequence[float]], *, colours: Mapping[str, str], title: str, x_label: str
) -> bytes:
    """Draw horizontal stacked bars: one bar per name, one colour per series."""
    figure, axes = _canvas(5.2, 1.5 + 0.3 * len(bars))
    left = np.zeros(len(bars))
    for label, lengths in series.items():
        colour = colours.get(label, UNKNOWN_COLOUR)
        axes.barh(np.arange(len(bars)), lengths, 0.7, left=left, color=colour, label=shorten(label))
        left += np.asarray(lengths, dtype=float)
    axes.set_yticks(np.arange(len(bars)), [shorten(bar) for bar in bars])
    axes.invert_yaxis()
    axes.set(title=title, xlabel=x_label)
    axes.grid(alpha=0.25, axis="x")
    if len(series) <= 16:
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return _png(figure)


def shorten(text: str, longest: int = LONGEST_LABEL) -> str:
    """Shorten a label in the middle; a leading "_" would hide it from matplotlib's legends."""
    text = " ".join(text.split())
    if len(text) > longest:
        text = f"{text[: longest // 2]}…{text[-(longest // 2 - 1) :]}"
    return f" {text}" if text.startswith("_") else text


def _fill_heat_map(
    axes: Axes, values: Values, *, rows: Sequence[str], columns: Sequence[str], largest: float, percent: bool
) -> None:
    axes.imshow(np.ma.masked_invalid(values), cmap="Blues", vmin=0, vmax=largest, aspect="auto")
    axes.patch.set(hatch="////", edgecolor="#bbbbbb", facecolor="white")
    axes.spines[:].set_visible(False)
    axes.set_yticks(range(len(rows)), [shorten(row) for row in rows])
    axes.set_xticks(range(len(columns)), [shorten(column) for column in columns], **_slant(columns))
    axes.tick_params(length=0)
    if values.size > 900:
        return
    for (row, column), value in np.ndenumerate(values):
        text = _cell(float(value), percent=percent)
        colour = "white" if value > 0.55 * largest else "#222222"
        axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=7.5)


def _cell(value: float, *, percent: bool) -> str:
    if not np.isfinite(value):
        return ""
    if percent:
        return f"{100 * value:.0f}" if value >= 0.005 else ("·" if value > 0 else "")
    return f"{value:.2f}" if value < 10 else f"{value:.0f}"


def _slant(labels: Sequence[str]) -> dict[str, Any]:
    """Slant tick labels that would touch."""
    longest = max((len(shorten(label)) for label in labels), default=0)
    if longest <= 7 and len(labels) <= 6:
        return {}
    return {"rotation": 40, "ha": "right", "rotation_mode": "anchor"}


def _canvas(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(min(width, 16), min(height, 16)), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots()


def _png(figure: Figure) -> bytes:
    target = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure.savefig(target, format="png", dpi=DPI, metadata={"Software": None})
    return target.getvalue()
