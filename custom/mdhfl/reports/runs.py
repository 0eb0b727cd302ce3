"""Run folders as the report reads them: tolerant of what an interruption leaves behind."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mdhfl.digests import values_digest
from mdhfl.learning.bundle_changes import with_prefix
from mdhfl.runs.folder import results_in
from mdhfl.server.journal import read_journal
from mdhfl.server.rows import summary_of
from mdhfl.sharing.watch import TELL, Look
from mdhfl.showing.texts import one_line, shown
from mdhfl.site.left import Sum
from mdhfl.store.lines import ends_whole
from mdhfl.store.sealed import Damaged, exists, read_sealed_json

Row = Mapping[str, Any]
DEFENCE, PRIVACY = "defence.", "privacy."  # before the names that `--defence` and `--privacy` know


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run folder; its texts are `shown`, so that they can be put anywhere.

    Attributes:
        folder: where it lies.
        place: its name among the runs of a report.
        federation: the folder that it ran on.
        federation_place: that folder's name among the federations of a report.
        experiment: the content of experiment.json.
        rows: the whole lines of results.jsonl, ordered by round.
        summary: as in summary.json; derived from the rows where that file is missing or older than the rows.
        finished: whether all rounds were run and summarised.
        notes: what a reader must know (unfinished, truncated line, ...).
        own: whether it is what one site knows of a run.
        left: what left that site.
    """

    folder: Path
    place: str
    federation: str
    federation_place: str
    experiment: Mapping[str, Any]
    rows: tuple[Row, ...]
    summary: Mapping[str, Any]
    finished: bool
    notes: tuple[str, ...]
    own: bool = False
    left: tuple[Sum, ...] = ()

    @property
    def method(self) -> str:
        return str(self.experiment["method"])

    @property
    def engine(self) -> str:
        return str(self.experiment.get("engine") or self.summary.get("engine") or "unknown")

    @property
    def settings(self) -> dict[str, Any]:
        """Hyper-parameters by the names that `--set` knows: the method's, then what was changed of the bundles."""
        return {**self.experiment.get("parameters", {}), **with_prefix(self.experiment.get("bundle_changes", {}))}

    @property
    def policy(self) -> dict[str, Any]:
        """Every simulated site's defences and privacy budget, and the watch; nothing of what is as by default."""
        chosen = {PRIVACY: self.experiment.get("privacy") or {}, DEFENCE: self.experiment.get("defences") or {}}
        named = {f"{kind}{name}": _number(value) for kind, values in chosen.items() for name, value in values.items()}
        watch = self.experiment.get("watch") or TELL
        return named if watch == TELL else {**named, "watch": watch}

    @property
    def bundles(self) -> str:
        """12 hexadecimal digits of what all sites' bundles say and do; empty where the record has no digest of them."""
        asked = self.experiment.get("sites", {})
        found = {site: one.get("bundle_digest") for site, one in asked.items()} if isinstance(asked, Mapping) else {}
        return values_digest(found)[:12] if any(found.values()) else ""

    @property
    def seed(self) -> int:
        return int(self.experiment.get("seed", 0))

    @property
    def planned_rounds(self) -> int:
        return int(self.experiment.get("rounds", self.last_round))

    @property
    def last_round(self) -> int:
        return max((int(row["round"]) for row in self.rows), default=0)

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(str(name) for name in self.experiment.get("classes", ()))

    @property
    def sites(self) -> tuple[str, ...]:
        """Names of the sites in the experiment's order, then any other that answered."""
        asked = [str(site) for site in self.experiment.get("sites", ())]
        return tuple(dict.fromkeys([*asked, *(str(row["site"]) for row in self.rows)]))

    def rows_of(self, site: str) -> list[Row]:
        """Return the rows of a site that hold scores, ordered by round."""
        return [row for row in self.rows if row["site"] == site and row.get("status") == "ok"]

    def last_row(self, site: str) -> Row | None:
        """Return the last row of a site that holds scores."""
        return next(iter(reversed(self.rows_of(site))), None)

    def architecture(self, site: str) -> str:
        """Return the architecture's name, or the bundle's where no answer named it."""
        asked = self.experiment.get("sites", {})
        bundle = asked.get(site, {}).get("bundle", "") if isinstance(asked, Mapping) else ""
        about = self.summary["sites"].get(site, {})
        return str(about.get("architecture") or about.get("bundle") or bundle or "unknown")

    def withheld(self) -> dict[str, list[str]]:
        """Return site -> what it keeps to itself, for the sites that do."""
        told = {site: ((self.last_row(site) or {}).get("about") or {}).get("withheld") for site in self.sites}
        return {site: list(names) for site, names in told.items() if names}

    def stood_out(self) -> list[tuple[int, str, str]]:
        """Return (round, site, reason) of every site and round in which its answers stood out from the others'."""
        looks = [(int(row["round"]), str(row["site"]), row.get("watch")) for row in self.rows]
        found = [(number, site, Look.from_plain(look)) for number, site, look in looks if look]
        return sorted((number, site, look.text) for number, site, look in found if look.stands_out)

    def problems(self) -> list[tuple[int, str, str]]:
        """Return (round, site, reason) of every refused answer, and of every answer missing from a recorded round."""
        found = [
            (int(row["round"]), str(row["site"]), str(row.get("reason") or "no reason given"))
            for row in self.rows
            if row.get("status") != "ok"
        ]
        present = {(row["round"], row["site"]) for row in self.rows}
        for number in sorted({int(row["round"]) for row in self.rows}):
            found += [
                (number, site, "no line in results.jsonl") for site in self.sites if (number, site) not in present
            ]
        return sorted(found)


def read_report_run(folder: Path) -> Run:
    """Read one run folder, a server's folder of an experiment, or what `download_job` brought home.

    Raises:
        ValueError: it is no run folder.
        Damaged: a file in it is damaged beyond the last line of its results.
    """
    home = results_in(folder)
    path = home / "experiment.json"
    if not exists(path):
        raise ValueError(
            f"{folder}: expected a run folder (the --out of `mdhfl run`) with experiment.json and results.jsonl, "
            f"got {'a folder without experiment.json' if folder.is_dir() else 'no such folder'}"
        )
    asked_for = read_sealed_json(path)
    federation = str(asked_for.get("federation", ""))
    roots = (folder, Path(federation))
    experiment = shown(asked_for, roots=roots)
    if "method" not in experiment:
        raise ValueError(f"{path}: expected the record of an experiment, got no 'method'; run the experiment again")
    rows, truncated = _read_results(home / "results.jsonl", roots=roots)
    asked = [str(site) for site in experiment.get("sites", ())]
    sites = tuple(dict.fromkeys([*asked, *(str(row["site"]) for row in rows)]))
    last = max((int(row["round"]) for row in rows), default=0)
    written = shown(_read_summary(home / "summary.json"), roots=roots)
    current = bool(written) and isinstance(written.get("sites"), Mapping) and int(written.get("rounds", last)) >= last
    summary = written if current else summary_of(rows, experiment=experiment, sites=sites, last_round=-1)
    finished = current and written.get("status", "finished") == "finished"
    notes = _notes(rows, experiment, last, truncated=truncated, finished=finished)
    return Run(
        folder=folder,
        place=name_of(folder),
        federation=federation,
        federation_place=name_of(Path(federation)),
        experiment=experiment,
        rows=tuple(rows),
        summary=summary,
        finished=finished,
        notes=tuple(notes),
    )


def _notes(
    rows: Sequence[Row], experiment: Mapping[str, Any], last: int, *, truncated: bool, finished: bool
) -> list[str]:
    notes = []
    planned = experiment.get("rounds", last)
    if not finished:
        state = f"the last recorded round is {last} of {planned}" if rows else "no round is recorded yet"
        notes.append(f"unfinished: {state}. Continue it with --resume.")
    if truncated:
        notes.append(
            "The last line of results.jsonl is cut off or damaged; it is left out. --resume asks for its round again."
        )
    return notes


def name_of(folder: Path, *, parts: int = 1) -> str:
    """Return the last parts of a folder's path, which do not say where it lies on this machine."""
    names = [part for part in folder.parts if part != folder.anchor]
    return one_line("/".join(names[-parts:])) or "unnamed"


def told_apart(folders: Sequence[Path]) -> dict[Path, str]:
    """Return each folder's name, with as many of its parents as tell all of them apart."""
    names: dict[Path, str] = {}
    for parts in range(1, max(1, *(len(folder.parts) for folder in folders)) + 1):
        names = {folder: name_of(folder, parts=parts) for folder in folders}
        if len(set(names.values())) == len(names):
            break
    return names


def mean_of(values: Sequence[Any]) -> float | None:
    """Return the mean of the finite numbers, None if there is none."""
    known = [value for value in map(number_or_none, values) if value is not None]
    return sum(known) / len(known) if known else None


def spread_of(values: Sequence[float]) -> float | None:
    """Return the sample standard deviation, None for fewer than two values."""
    if len(values) < 2:
        return None
    mean = sum(values) / len(values)
    return math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))


def number_or_none(value: Any) -> float | None:
    """Return a finite number as float, anything else as None."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return float(value)


def _number(value: Any) -> Any:
    """Return 8 for 8.0, which is the same choice; anything else as it is."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _read_results(path: Path, *, roots: Sequence[Path]) -> tuple[list[Row], bool]:
    """Return the rows, and whether the last line is left out because it is cut off or damaged."""
    rows, fault = read_journal(path)
    return [shown(row, roots=roots) for row in rows], bool(fault) or _is_cut(path)


def _read_summary(path: Path) -> Mapping[str, Any]:
    """Return what a summary says, nothing if it is missing or damaged: the rows say it as well."""
    try:
        return read_sealed_json(path)
    except Damaged:
        return {}


def _is_cut(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return not ends_whole(file)
