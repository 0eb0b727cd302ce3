"""The report's numbers as flat rows (CSV) and as one JSON object. Pure."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from mdhfl import __version__
from mdhfl.metrics import HEADLINES, SCORES
from mdhfl.reports.federations import Federation
from mdhfl.reports.groups import MEAN, Comparison, Group
from mdhfl.reports.runs import Run
from mdhfl.reports.tidy import chosen_columns, run_columns


def summary_rows(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Return one flat row per run and site, and one for the mean, as in summary.csv."""
    names = ("training_images", *SCORES, "bytes_up", "bytes_down", "seconds")
    rows = []
    for run, own in zip(runs, chosen_columns(runs), strict=True):
        shown = {"rounds": run.last_round, **own, "status": "finished" if run.finished else "unfinished"}
        for site in (*run.sites, MEAN):
            values = run.summary["mean"] if site == MEAN else run.summary["sites"].get(site, {})
            architecture = "" if site == MEAN else run.architecture(site)
            columns = {**run_columns(run), **shown, "site": site, "architecture": architecture}
            network = {"network_parameters": (values or {}).get("parameters")}
            rows.append({**columns, **network, **{name: (values or {}).get(name) for name in names}})
    return rows


def report_data(
    runs: Sequence[Run],
    federations: Mapping[str, Federation],
    groups: Sequence[Group],
    comparisons: Sequence[Comparison],
    *,
    figures: Sequence[str],
) -> dict[str, Any]:
    """Return everything that the page says as plain JSON values; numbers that are not finite become null."""
    plain: dict[str, Any] = _plain(
        {
            "version": 1,
            "written_with": {"mdhfl": __version__},
            "runs": [
                {
                    "folder": run.place,
                    "finished": run.finished,
                    "notes": run.notes,
                    "experiment": run.experiment,
                    "summary": run.summary,
                    "rows": run.rows,
                    "problems": [{"round": n, "site": site, "reason": why} for n, site, why in run.problems()],
                }
                for run in runs
            ],
            "groups": [{"label": g.label, "seeds": g.seeds, "runs": [r.place for r in g.runs]} for g in groups],
            "comparisons": [
                {
                    "federation": federations[each.federation].place,
                    "sharing": each.sharing.label,
                    "alone": each.alone.label,
                    "verdict": each.verdict,
                    "scores": {score: each.rows(score) for score in HEADLINES},
                }
                for each in comparisons
            ],
            "federations": [
                {"folder": f.place, "card": f.card, "sites": f.sites, "public": f.public, "notes": f.notes}
                for f in federations.values()
            ],
            "figures": figures,
        }
    )
    return plain


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
