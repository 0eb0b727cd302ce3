"""scores.csv: one number a line, with everything that tells it from the others in columns of its own. Pure.

For `pandas.read_csv`, without any splitting of texts; docs/rivals.md documents the columns.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mdhfl.metrics import SCORES
from mdhfl.reports.runs import Run
from mdhfl.server.rows import seconds_of

SET = "set."  # before the name of a hyper-parameter, as `--set` has it


def score_rows(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Return a row for every number of some runs: what tells the run, what was chosen for it, and the number."""
    return [
        {**run_columns(run), "rounds": run.last_round, **own, **row}
        for run, own in zip(runs, chosen_columns(runs), strict=True)
        for row in number_rows(run)
    ]


def run_columns(run: Run) -> dict[str, Any]:
    """Return what tells a run from others, but for `chosen_columns`; `run` is its folder's name."""
    return {
        "run": run.place,
        "federation": run.federation_place,
        "method": run.method,
        "engine": run.engine,
        "seed": run.seed,
    }


def chosen_columns(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Return what was chosen for each run: hyper-parameters, policy and bundles; None for what a run has none of."""
    settings = settings_columns([run.settings for run in runs])
    others = _columns([{**run.policy, **({"bundles": run.bundles} if run.bundles else {})} for run in runs])
    return [{**one, **other} for one, other in zip(settings, others, strict=True)]


def settings_columns(settings: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return a column for every hyper-parameter of some run, None for a run without it."""
    return _columns([{f"{SET}{name}": value for name, value in one.items()} for one in settings])


def _columns(chosen: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    names = list(dict.fromkeys(name for one in chosen for name in one))
    return [{name: _plain(one.get(name)) for name in names} for one in chosen]


def number_rows(run: Run) -> Iterator[dict[str, Any]]:
    """Yield site, architecture, round, part, score and value of every number that a run has recorded."""
    for row in run.rows:
        where = {"site": row["site"], "architecture": run.architecture(str(row["site"])), "round": row["round"]}
        for part, score, value in numbers_of(row):
            yield {**where, "part": part, "score": score, "value": value}


def numbers_of(row: Mapping[str, Any]) -> Iterator[tuple[str, str, float]]:
    """Yield part, score and value of a line of results.jsonl; what is not known is left out.

    The parts: "test" and "validation" (scores in [0, 1]), "loss", "seconds" (by phase), "bytes" (up, down), and
    "round" (refused and best, 0 or 1).
    """
    refused = row.get("status") != "ok"
    found: dict[str, Mapping[str, Any]] = {
        **{part: _of(row, part, SCORES) for part in ("test", "validation")},
        "loss": _of(row, "losses", ("train", "align")),
        "seconds": seconds_of(row),
        "bytes": _of(row, "bytes", ("up", "down")),
        "round": {"refused": int(refused), **({} if refused else {"best": int(bool(row.get("best")))})},
    }
    for part, values in found.items():
        for score, value in values.items():
            if isinstance(value, int | float):
                yield part, score, value


def _of(row: Mapping[str, Any], part: str, names: Sequence[str] | Mapping[str, Any]) -> dict[str, Any]:
    values = row.get(part) or {}
    return {name: values.get(name) for name in names}


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, int | float | str) else str(value)
