"""The report: run folders in; one self-contained page, its figures, and the same numbers as CSV and JSON out."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mdhfl import __version__
from mdhfl.metrics import HEADLINES, SCORES
from mdhfl.reports.audit_view import audit_view
from mdhfl.reports.divergence_view import divergence_view
from mdhfl.reports.federation_view import federation_view
from mdhfl.reports.federations import Federation, read_report_federation
from mdhfl.reports.figures import draw_bars, site_colours
from mdhfl.reports.gallery import Gallery, Picture
from mdhfl.reports.groups import MEAN, Comparison, Group, compare, group_runs
from mdhfl.reports.labels import title_of
from mdhfl.reports.numbers import report_data, summary_rows
from mdhfl.reports.page import render_page
from mdhfl.reports.run_view import (
    confusions,
    control_rows,
    cost_rows,
    costs,
    curves,
    missing_classes,
    recall_rows,
)
from mdhfl.reports.runs import Run, told_apart
from mdhfl.reports.site_run import read_any_run
from mdhfl.reports.story import story_view
from mdhfl.reports.tidy import score_rows
from mdhfl.showing.sheets import to_csv

MOST_NAMED = 12  # sites named in a card at the top
MOST_DETAILED = 6  # with more runs, details are shown for one seed of each group
COMPARISON_COLOURS = ("#0072B2", "#E69F00")  # the one that shares, the one alone


def write_report(runs: Sequence[Path], *, out: Path) -> Path:
    """Write the report of some runs.

    Args:
        runs: run folders, at least one, finished or not.
        out: folder for report.html, report.json, scores.csv, summary.csv and figures/*.png; made if need be.

    Returns:
        The path of report.html: self-contained, no scripts, no network.

    Raises:
        ValueError: no run, a folder that holds no run, or a damaged file in one.
        OSError: the report cannot be written.
    """
    if not runs:
        raise ValueError("expected at least one run folder (the --out of `mdhfl run`), got none")
    folders = list(dict.fromkeys(Path(folder).resolve() for folder in runs))
    found, federations = _read(folders)
    groups = group_runs(found)
    comparisons = compare(groups)
    gallery = Gallery()
    page = _page(found, federations, groups, comparisons, gallery=gallery)
    _forget_old_figures(out)
    (out / "figures").mkdir(parents=True, exist_ok=True)
    for name, content in gallery.files.items():
        (out / "figures" / name).write_bytes(content)
    data = report_data(found, federations, groups, comparisons, figures=list(gallery.files))
    (out / "report.json").write_text(json.dumps(data, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    scores = to_csv(score_rows(found)) or "run\n"
    (out / "scores.csv").write_text(scores, encoding="utf-8", newline="")
    (out / "summary.csv").write_text(to_csv(summary_rows(found)), encoding="utf-8", newline="")
    (out / "report.html").write_text(render_page(page), encoding="utf-8")
    return out / "report.html"


def _read(folders: Sequence[Path]) -> tuple[list[Run], dict[str, Federation]]:
    """Read runs and federations, each with a name that tells it from the others."""
    found = [read_any_run(folder) for folder in folders]
    runs, federations = told_apart(folders), told_apart([Path(run.federation) for run in found])
    return (
        [replace(run, place=runs[run.folder], federation_place=federations[Path(run.federation)]) for run in found],
        {
            run.federation: replace(read_report_federation(run.federation), place=federations[Path(run.federation)])
            for run in found
        },
    )


def _page(
    runs: Sequence[Run],
    federations: Mapping[str, Federation],
    groups: Sequence[Group],
    comparisons: Sequence[Comparison],
    *,
    gallery: Gallery,
) -> dict[str, Any]:
    colours = site_colours(tuple(dict.fromkeys(site for run in runs for site in run.sites)))
    labels = {run.folder: group.label for group in groups for run in group.runs}
    detailed = runs if len(runs) <= MOST_DETAILED else [group.runs[0] for group in groups]
    views = []
    for number, run in enumerate(runs, start=1):
        label = labels.get(run.folder) or title_of(run.method)
        name = f"{number:02d}-{run.method.rpartition(':')[2]}-seed-{run.seed}"
        federation = federations[run.federation]
        views.append(
            _run_view(
                run,
                label,
                federation,
                gallery=gallery,
                prefix=name,
                colours=colours,
                alone=next((c.alone_of(run) for c in comparisons if run in c.sharing.runs), None),
                detailed=run in detailed,
            )
        )
    return {
        "groups": [_group_view(group, federations) for group in groups],
        "runs": views,
        "story": story_view(groups, comparisons, federations),
        "several_federations": len(federations) > 1,
        "own": all(run.own for run in runs),
        "comparisons": _comparison_views(comparisons, federations, gallery=gallery),
        "federations": [
            federation_view(federation, gallery=gallery, prefix=f"federation-{i}", colours=colours)
            for i, federation in enumerate(federations.values(), start=1)
        ],
        "colours": colours,
        "written_with": __version__,
    }


def _run_view(
    run: Run,
    label: str,
    federation: Federation,
    *,
    gallery: Gallery,
    prefix: str,
    colours: Mapping[str, str],
    alone: Run | None,
    detailed: bool,
) -> dict[str, Any]:
    missing = {site: missing_classes(run, site=site, federation=federation) for site in run.sites}
    return {
        "run": run,
        "title": f"{label}, seed {run.seed}",
        "federation": federation.name,
        "anchor": prefix,
        "missing": missing,
        "lacking": any(missing.values()),
        "recall": recall_rows(run, federation=federation),
        "cost_rows": cost_rows(run),
        "control": control_rows(run),
        "audit": audit_view(run),
        "problems": run.problems(),
        "stood_out": run.stood_out(),
        "detailed": detailed,
        "curves": curves(run, gallery=gallery, prefix=prefix, colours=colours) if detailed and run.rows else [],
        "divergence": divergence_view(run, alone=alone, gallery=gallery, prefix=prefix) if detailed else None,
        "confusions": confusions(run, gallery=gallery, prefix=prefix) if detailed else [],
        "costs": costs(run, gallery=gallery, prefix=prefix) if detailed and run.rows else [],
    }


def _group_view(group: Group, federations: Mapping[str, Federation]) -> dict[str, Any]:
    first = group.runs[0]
    return {
        "label": group.label,
        "federation": federations[group.federation].name,
        "sites": [(site, first.architecture(site)) for site in first.sites[:MOST_NAMED]],
        "more_sites": max(len(first.sites) - MOST_NAMED, 0),
        "rounds": first.planned_rounds,
        "last_round": first.last_round,
        "seeds": group.seeds,
        "repeated": group.repeated,
        "engines": sorted({run.engine for run in group.runs}),
    }


def _comparison_views(
    comparisons: Sequence[Comparison], federations: Mapping[str, Federation], *, gallery: Gallery
) -> list[dict[str, Any]]:
    views = []
    for number, each in enumerate(comparisons, start=1):
        rows = {score: each.rows(score) for score in HEADLINES}
        views.append(
            {
                "comparison": each,
                "federation": federations[each.federation].name,
                "tables": [{"title": SCORES[score].title, "rows": rows[score]} for score in HEADLINES],
                "pictures": [
                    _draw_comparison(each, score, rows[score], gallery=gallery, prefix=f"comparison-{number}")
                    for score in HEADLINES
                ],
            }
        )
    return views


def _draw_comparison(
    comparison: Comparison, score: str, rows: Sequence[Mapping[str, Any]], *, gallery: Gallery, prefix: str
) -> Picture:
    labels = {"sharing": comparison.sharing.label, "alone": comparison.alone.label}
    png = draw_bars(
        ["mean" if site == MEAN else site for site in comparison.sites],
        {text: [_or_zero(row[key]) for row in rows] for key, text in labels.items()},
        spreads={text: [_or_zero(row[f"{key}_sd"]) for row in rows] for key, text in labels.items()},
        colours=dict(zip(labels.values(), COMPARISON_COLOURS, strict=True)),
        title=SCORES[score].title,
        y_label="clean test part",
    )
    alt = f"{SCORES[score].title} per site: {labels['sharing']} against {labels['alone']}"
    return gallery.add_chart(f"{prefix}-{score}", png, alt=alt)


def _or_zero(value: float | None) -> float:
    return 0.0 if value is None else value


def _forget_old_figures(out: Path) -> None:
    """Remove the figures that an earlier report listed as its own, and nothing else."""
    try:
        names = json.loads((out / "report.json").read_text(encoding="utf-8"))["figures"]
        old = [out / "figures" / name for name in names if isinstance(name, str) and name == Path(name).name]
    except (OSError, ValueError, KeyError, TypeError):
        return
    for path in old:
        path.unlink(missing_ok=True)
