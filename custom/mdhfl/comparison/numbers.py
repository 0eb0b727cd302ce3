"""A comparison's scores.csv: the columns of a report's, with the titles that its file gives."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mdhfl.comparison.place import Workplace
from mdhfl.comparison.table import Found
from mdhfl.methods import name_of
from mdhfl.reports.tidy import numbers_of, settings_columns
from mdhfl.server.journal import read_rows


def score_rows(found: Sequence[Found], place: Workplace) -> list[dict[str, Any]]:
    """Return a row for every number that finished runs have recorded, and for their scores on all sites' images.

    Args:
        found: the runs.
        place: where they lie; `run` is the folder below it.
    """
    settings = settings_columns([one.cell.settings for one in found])
    return [
        {**_run_columns(one, place), **own, **row}
        for one, own in zip(found, settings, strict=True)
        for row in _numbers(one, place)
    ]


def _run_columns(one: Found, place: Workplace) -> dict[str, Any]:
    cell = one.cell
    return {
        "run": place.run(cell).relative_to(place.work).as_posix(),
        "title": cell.method,
        "federation": cell.federation,
        "noise": cell.noise,
        "method": name_of(cell.method_used),
        "engine": "inprocess",
        "seed": cell.seed,
        "rounds": one.record["summary"]["rounds"],
    }


def _numbers(one: Found, place: Workplace) -> Iterator[dict[str, Any]]:
    last: dict[str, Mapping[str, Any]] = {}
    for row in read_rows(place.run(one.cell) / "results.jsonl"):
        where = _where(row)
        last[row["site"]] = where if row["status"] == "ok" else last.get(row["site"], where)
        for part, score, value in numbers_of(row):
            yield {**where, "part": part, "score": score, "value": value}
    for site, scores in one.record["on_all"].items():
        for score, value in scores.items():
            yield {**last[site], "part": "all_sites", "score": score, "value": value}


def _where(row: Mapping[str, Any]) -> dict[str, Any]:
    about = row.get("about") or {}
    return {"site": row["site"], "architecture": about.get("architecture", ""), "round": row["round"]}
