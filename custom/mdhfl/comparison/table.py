"""What a comparison found: one row a run, tables of mean and spread over seeds, and paired differences."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mdhfl.comparison.columns import COLUMNS, MAIN, OWN
from mdhfl.comparison.grid import Cell
from mdhfl.showing.texts import markdown as markdown_of


@dataclass(frozen=True, kw_only=True)
class Found:
    """One finished run.

    Attributes:
        cell: what was asked.
        record: its summary, scores on the test images of all sites, wall-clock seconds and peak memory.
    """

    cell: Cell
    record: Mapping[str, Any]

    def score(self, metric: str) -> float:
        """Return the mean over sites, in percent; NaN where no site has this score."""
        scores = list(self.site_scores(metric).values())
        return float(np.mean(scores)) if scores else math.nan

    def site_scores(self, metric: str) -> dict[str, float]:
        """Return each site's score in percent, with the three decimals that the CSV files keep."""
        sites = self.record["summary"]["sites"] if metric.startswith(OWN) else self.record["on_all"]
        name = metric.removeprefix(OWN)
        return {site: round(100 * scores[name], 3) for site, scores in sites.items() if scores.get(name) is not None}


def rows_of(found: Sequence[Found]) -> list[dict[str, Any]]:
    """Return one row a run, with its scores and what it cost."""
    rows = []
    for one in found:
        cell, summary = one.cell, one.record["summary"]
        rounds, mean = summary["rounds"] + 1, summary["mean"]
        rows.append(
            {
                "federation": cell.federation,
                "noise": cell.noise,
                "method": cell.method,
                "seed": cell.seed,
                "shares": cell.recipe.method.shares or "nothing",
                **{name: _known(one.score(name)) for name in COLUMNS},
                "calibration_error": round(100 * mean["ece"], 3),
                "sites": len(summary["sites"]),
                "seconds_per_site": round(mean["seconds"], 2),
                "bytes_up_per_site_and_round": round(mean["bytes_up"] / rounds),
                "bytes_down_per_site_and_round": round(mean["bytes_down"] / rounds),
                "wall_seconds": one.record["wall_seconds"],
                "peak_memory_mib": round(one.record["peak_memory"] / 2**20),
            }
        )
    return rows


def _known(score: float) -> float | None:
    return None if math.isnan(score) else round(score, 3)


def site_rows_of(found: Sequence[Found]) -> list[dict[str, Any]]:
    """Return one row a run and site, with the scores behind the means and the paired differences."""
    rows = []
    for one in found:
        cell, scores = one.cell, {name: one.site_scores(name) for name in COLUMNS}
        for site in one.site_scores(MAIN):
            asked = {"federation": cell.federation, "noise": cell.noise, "method": cell.method, "seed": cell.seed}
            known = {name: round(scores[name][site], 3) if site in scores[name] else None for name in COLUMNS}
            rows.append({**asked, "site": site, **known})
    return rows


def markdown(question: str, found: Sequence[Found]) -> str:
    """Return all tables of a comparison."""
    parts = [markdown_of(question)]
    for federation in _in_order(one.cell.federation for one in found):
        here, title = [one for one in found if one.cell.federation == federation], markdown_of(federation)
        noises, columns = _axes(here)[1], columns_of(here)
        if len(noises) == 1:
            parts.append(f"**{title}, noise {markdown_of(noises[0])}: scores, %**\n\n{one_noise_table(here)}")
        else:
            parts += [f"**{title}: {COLUMNS[m].title}**\n\n{score_table(here, metric=m)}" for m in columns]
        parts.append(
            f"**{title}: {COLUMNS[MAIN].title}: difference to the best other method** (points, with the 95 % "
            f"confidence interval over seeds)\n\n{difference_table(here, metric=MAIN)}"
        )
        parts.append(f"**{title}: cost**\n\n{cost_table(here)}")
    parts.append(notes(found))
    return "\n\n".join(parts) + "\n"


def columns_of(found: Sequence[Found]) -> list[str]:
    """Return the names of the columns that some run has a score for."""
    return [name for name in COLUMNS if any(one.site_scores(name) for one in found)]


def score_table(found: Sequence[Found], *, metric: str) -> str:
    """Return methods x noise: mean ± standard deviation over seeds of the mean over sites, the best in bold.

    Centralised training is shown but not compared: no federation could use it.
    """
    methods, noises = _axes(found)
    lines = [[method, *cells] for method, cells in zip(methods, _cells(found, metric=metric), strict=True)]
    return _table([_seeds(found), *noises], lines)


def _cells(found: Sequence[Found], *, metric: str) -> list[list[str]]:
    """Return the text of each method's cells, a noise each."""
    methods, noises = _axes(found)
    values = {(m, n): _scores(found, m, n, metric) for m in methods for n in noises}
    real = _baselines(found)
    most = {n: max(len(_paired(found, m, n, metric)) for m in methods) for n in noises}
    best = {n: max((np.mean(values[m, n]) for m in real if values[m, n]), default=0.0) for n in noises}

    def shown(method: str, noise: str) -> str:
        scores = values[method, noise]
        if not scores:
            return "not run"
        text = mean_and_spread(scores)
        if (runs := len(_paired(found, method, noise, metric))) < most[noise]:
            text += f" ({runs} of {most[noise]} seeds)"
        return f"**{text}**" if method in real and np.mean(scores) == best[noise] else text

    return [[shown(method, noise) for noise in noises] for method in methods]


def _baselines(found: Sequence[Found]) -> list[str]:
    """Return the methods that a federation could use: all but the upper bound."""
    return _in_order(one.cell.method for one in found if one.cell.recipe.method.is_federated)


def _seeds(found: Sequence[Found]) -> str:
    seeds = len({one.cell.seed for one in found})
    return f"{seeds} seed{'s' if seeds > 1 else ''}"


def one_noise_table(found: Sequence[Found]) -> str:
    """Return methods x metrics, where there is only one kind of noise: as `score_table` otherwise."""
    methods, _ = _axes(found)
    shown = columns_of(found)
    columns = [[cells[0] for cells in _cells(found, metric=metric)] for metric in shown]
    lines = [list(line) for line in zip(methods, *columns, strict=True)]
    return _table([_seeds(found), *(COLUMNS[metric].short for metric in shown)], lines)


def difference_table(found: Sequence[Found], *, metric: str) -> str:
    """Return methods x noise: the paired difference to the best of the other methods, with its 95 % interval.

    Over the seeds that all methods have: while runs are missing, no method is spared the best rival of a seed.
    """
    methods, noises = _axes(found)

    def shown(method: str, noise: str) -> str:
        others = {m: _paired(found, m, noise, metric) for m in _baselines(found) if m != method}
        own, others = _paired(found, method, noise, metric), {m: scores for m, scores in others.items() if scores}
        seeds = sorted(set(own).intersection(*others.values())) if others else []
        if not seeds:
            return "not run"
        other = max(others, key=lambda m: np.mean([others[m][seed] for seed in seeds]))
        return with_interval([own[seed] - others[other][seed] for seed in seeds])

    lines = [[method, *(shown(method, noise) for noise in noises)] for method in methods]
    return _table(["", *noises], lines)


def cost_table(found: Sequence[Found]) -> str:
    """Return a row a method: computation, bytes and memory, means over noise and seeds.

    The seconds of a run hold what no site's do: distillation at a server, and the scoring on all sites' images.
    """
    methods, _ = _axes(found)
    lines = []
    for method in methods:
        rows = rows_of([one for one in found if one.cell.method == method])

        def mean(name: str, rows: list[dict[str, Any]] = rows) -> float:
            return float(np.mean([row[name] for row in rows]))

        lines.append(
            [
                method,
                rows[0]["shares"],
                f"{mean('seconds_per_site'):.1f}",
                f"{mean('wall_seconds'):.1f}",
                f"{mean('bytes_up_per_site_and_round') / 1000:.1f}",
                f"{mean('bytes_down_per_site_and_round') / 1000:.1f}",
                f"{mean('peak_memory_mib'):.0f}",
            ]
        )
    traffic = ("kB up per site and round", "kB down per site and round")
    head = ["", "shared", "seconds per site", "seconds per run", *traffic, "peak MiB, all sites"]
    return _table(head, lines)


def notes(found: Sequence[Found]) -> str:
    """Say what the runs have in common, and what some method forces."""
    lines = [
        "For each seed, all methods use the same images, labels and splits and take the same number of local gradient "
        "steps. Unavoidable differences:",
        "",
    ]
    for method in _in_order(one.cell.method for one in found):
        recipe = next(one.cell.recipe for one in found if one.cell.method == method)
        if differences := recipe.method.differences():
            lines.append(f"* {markdown_of(method)}: {'; '.join(differences)}.")
    return "\n".join(lines if len(lines) > 2 else [lines[0].replace(" Unavoidable differences:", "")])


def with_interval(differences: Sequence[float]) -> str:
    """Return "mean [low, high]", without the interval for a single value."""
    mean = f"{np.mean(differences):+.1f}"
    if len(differences) < 2:
        return mean
    low, high = confidence_interval(differences)
    return f"{mean} [{low:+.1f}, {high:+.1f}]"


def confidence_interval(differences: Sequence[float]) -> tuple[float, float]:
    """Return the two-sided 95 % Student interval of the mean of at least two values."""
    count = len(differences)
    from scipy.stats import t

    quantile = float(t.ppf(0.975, count - 1))
    half = quantile * float(np.std(differences, ddof=1)) / count**0.5
    return float(np.mean(differences)) - half, float(np.mean(differences)) + half


def mean_and_spread(values: Sequence[float]) -> str:
    """Return "mean ± standard deviation", without the latter for a single value."""
    return f"{np.mean(values):.1f}" + (f" ± {np.std(values, ddof=1):.1f}" if len(values) > 1 else "")


def _scores(found: Sequence[Found], method: str, noise: str, metric: str) -> list[float]:
    """Return the mean over sites of each seed in which a site has this score."""
    scores = [one.score(metric) for one in found if _is(one, method, noise)]
    return [score for score in scores if not math.isnan(score)]


def _paired(found: Sequence[Found], method: str, noise: str, metric: str) -> dict[int, float]:
    """Return seed -> mean over sites: the sites of a run learn from each other, and are no repeats."""
    return {one.cell.seed: one.score(metric) for one in found if _is(one, method, noise)}


def _is(one: Found, method: str, noise: str) -> bool:
    return (one.cell.method, one.cell.noise) == (method, noise)


def _axes(found: Sequence[Found]) -> tuple[list[str], list[str]]:
    return _in_order(one.cell.method for one in found), _in_order(one.cell.noise for one in found)


def _in_order(names: Any) -> list[str]:
    return list(dict.fromkeys(names))


def _table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rule = "|---|" + "---:|" * (len(head) - 1)
    shown = [[markdown_of(name) for name in head], *([markdown_of(title), *cells] for title, *cells in lines)]
    first, *others = [f"| {' | '.join(cells)} |" for cells in shown]
    return "\n".join([first, rule, *others])
