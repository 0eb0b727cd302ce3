"""What a comparison found: one row a run, tables of mean and spread over seeds, and paired differences."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mdhfl.comparison.grid import Cell

# On the test images of all sites together, and ("own_...") on each site's own, with its own mix of classes.
METRICS = ("macro_f1", "balanced_accuracy", "accuracy", "own_macro_f1", "own_accuracy")
TITLES = {
    "macro_f1": "macro-F1 on the test images of all sites, %",
    "balanced_accuracy": "balanced accuracy on the test images of all sites, %",
    "accuracy": "accuracy on the test images of all sites, %",
    "own_macro_f1": "macro-F1 on each site's own test images, %",
    "own_accuracy": "accuracy on each site's own test images, %",
}

SHORT_TITLES = {
    "macro_f1": "macro-F1, all sites",
    "balanced_accuracy": "balanced accuracy, all sites",
    "accuracy": "accuracy, all sites",
    "own_macro_f1": "macro-F1, own",
    "own_accuracy": "accuracy, own",
}


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
        """Return the mean over sites, in percent."""
        return float(np.mean(list(self.site_scores(metric).values())))

    def site_scores(self, metric: str) -> dict[str, float]:
        """Return each site's score in percent."""
        sites = self.record["summary"]["sites"] if metric.startswith("own_") else self.record["on_all"]
        name = metric.removeprefix("own_")
        return {site: 100 * scores[name] for site, scores in sites.items() if scores.get(name) is not None}


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
                **{name: round(one.score(name), 3) for name in METRICS},
                "calibration_error": round(100 * mean["ece"], 3),
                "sites": len(summary["sites"]),
                "seconds_a_site": round(mean["seconds"], 2),
                "bytes_up_a_site_and_round": round(mean["bytes_up"] / rounds),
                "bytes_down_a_site_and_round": round(mean["bytes_down"] / rounds),
                "wall_seconds": one.record["wall_seconds"],
                "peak_memory_mib": round(one.record["peak_memory"] / 2**20),
            }
        )
    return rows


def site_rows_of(found: Sequence[Found]) -> list[dict[str, Any]]:
    """Return one row a run and site, with the scores behind the means and the paired differences."""
    rows = []
    for one in found:
        cell, scores = one.cell, {name: one.site_scores(name) for name in METRICS}
        for site in scores[METRICS[0]]:
            asked = {"federation": cell.federation, "noise": cell.noise, "method": cell.method, "seed": cell.seed}
            known = {name: round(scores[name][site], 3) if site in scores[name] else None for name in METRICS}
            rows.append({**asked, "site": site, **known})
    return rows


def to_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows as CSV."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def markdown(question: str, found: Sequence[Found]) -> str:
    """Return all tables of a comparison."""
    parts = [question]
    for federation in _in_order(one.cell.federation for one in found):
        here = [one for one in found if one.cell.federation == federation]
        noises = _axes(here)[1]
        if len(noises) == 1:
            parts.append(f"**{federation}, noise {noises[0]}: scores, %**\n\n{one_noise_table(here)}")
        else:
            parts += [f"**{federation}: {TITLES[m]}**\n\n{score_table(here, metric=m)}" for m in METRICS]
        parts.append(
            f"**{federation}: {TITLES['macro_f1']}: difference to the best other method** (points, with the 95 % "
            f"confidence interval over pairs of seed and site)\n\n{difference_table(here, metric='macro_f1')}"
        )
        parts.append(f"**{federation}: cost**\n\n{cost_table(here)}")
    parts.append(notes(found))
    return "\n\n".join(parts) + "\n"


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
    values = {(m, n): [one.score(metric) for one in found if _is(one, m, n)] for m in methods for n in noises}
    real = _baselines(found)
    best = {n: max((np.mean(values[m, n]) for m in real if values[m, n]), default=0.0) for n in noises}

    def shown(method: str, noise: str) -> str:
        scores = values[method, noise]
        if not scores:
            return "not run"
        text = mean_and_spread(scores)
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
    columns = [[cells[0] for cells in _cells(found, metric=metric)] for metric in METRICS]
    lines = [list(line) for line in zip(methods, *columns, strict=True)]
    return _table([_seeds(found), *SHORT_TITLES.values()], lines)


def difference_table(found: Sequence[Found], *, metric: str) -> str:
    """Return methods x noise: the paired difference to the best of the other methods, with its 95 % interval."""
    methods, noises = _axes(found)

    def shown(method: str, noise: str) -> str:
        others = {m: _paired(found, m, noise, metric) for m in _baselines(found) if m != method}
        own = _paired(found, method, noise, metric)
        complete = {m: scores for m, scores in others.items() if own and scores.keys() == own.keys()}
        if not complete:
            return "not run"
        other = max(complete, key=lambda m: np.mean(list(complete[m].values())))
        differences = [own[pair] - complete[other][pair] for pair in own]
        low, high = confidence_interval(differences)
        return f"{np.mean(differences):+.1f} [{low:+.1f}, {high:+.1f}]"

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
                f"{mean('seconds_a_site'):.1f}",
                f"{mean('wall_seconds'):.1f}",
                f"{mean('bytes_up_a_site_and_round') / 1000:.1f}",
                f"{mean('bytes_down_a_site_and_round') / 1000:.1f}",
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
            lines.append(f"* {method}: {'; '.join(differences)}.")
    return "\n".join(lines if len(lines) > 2 else [lines[0].replace(" Unavoidable differences:", "")])


def confidence_interval(differences: Sequence[float]) -> tuple[float, float]:
    """Return the two-sided 95 % Student interval of a mean; infinite for a single value."""
    count = len(differences)
    if count < 2:
        return -float("inf"), float("inf")
    from scipy.stats import t

    quantile = float(t.ppf(0.975, count - 1))
    half = quantile * float(np.std(differences, ddof=1)) / count**0.5
    return float(np.mean(differences)) - half, float(np.mean(differences)) + half


def mean_and_spread(values: Sequence[float]) -> str:
    """Return "mean ± standard deviation", without the latter for a single value."""
    return f"{np.mean(values):.1f}" + (f" ± {np.std(values, ddof=1):.1f}" if len(values) > 1 else "")


def _paired(found: Sequence[Found], method: str, noise: str, metric: str) -> dict[tuple[int, str], float]:
    return {
        (one.cell.seed, site): score
        for one in found
        if _is(one, method, noise)
        for site, score in one.site_scores(metric).items()
    }


def _is(one: Found, method: str, noise: str) -> bool:
    return (one.cell.method, one.cell.noise) == (method, noise)


def _axes(found: Sequence[Found]) -> tuple[list[str], list[str]]:
    return _in_order(one.cell.method for one in found), _in_order(one.cell.noise for one in found)


def _in_order(names: Any) -> list[str]:
    return list(dict.fromkeys(names))


def _table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rule = "|---|" + "---:|" * (len(head) - 1)
    return "\n".join([f"| {' | '.join(head)} |", rule, *(f"| {' | '.join(line)} |" for line in lines)])
