"""How an experiment stands at its server, or in a run's folder: from what is recorded there, and who answered since."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from mdhfl.metrics import SCORES
from mdhfl.rounds.experiment import Experiment
from mdhfl.rounds.loop import LATE
from mdhfl.runs.folder import read_record
from mdhfl.runs.progress import PROGRESS, Step, read_steps
from mdhfl.server.journal import read_journal
from mdhfl.server.rows import seconds_of, stood_out_in, whole_rounds
from mdhfl.showing.texts import shown
from mdhfl.status.quantities import disk_of, in_phases, last_change
from mdhfl.status.record import Refused, SiteState, Status
from mdhfl.store.lock import holder_of
from mdhfl.store.sealed import exists, read_sealed_json

ANSWERS = ("warm_up", "learn", "adopt")  # actions whose answers make a round
MOST_REFUSALS = 20
LOCKS = ("results.lock", "run.lock")
WRITTEN = ("experiment.json", "results.jsonl", PROGRESS, "summary.json", *LOCKS)
Row = Mapping[str, Any]


def read_server(folder: Path) -> Status:
    """Read the status of a server's folder of an experiment, or of a run's folder.

    Raises:
        ValueError, OSError: it cannot be read; the message says why.
    """
    record = read_record(folder)
    rows, fault = _rows_of(folder, tuple(record["sites"]))
    sites = [str(site) for site in shown(list(record["sites"]))]
    done = max((int(row["round"]) for row in rows), default=None)
    total = _last_round(record)
    process = next((found for name in LOCKS if (found := holder_of(folder, name=name)) is not None), None)
    finished = process is None and _is_finished(folder)
    running = process is not None
    steps = [Step(**shown(step.to_json())) for step in read_steps(folder)] if running else []
    changed = last_change(folder / name for name in WRITTEN)
    now = _Now(steps, done=done, sites=sites, running=running)
    return Status(
        experiment=str(shown(record["id"])),
        role="server",
        state="running" if running else "finished" if finished else "stopped",
        headline=_headline(now, total=total, finished=finished),
        done=done,
        total=total,
        facts={
            "method": str(shown(record["method"])),
            "process": "nobody works on it" if process is None else f"{process} works on it",
            "seconds a round, mean over sites": in_phases(_mean_seconds(rows)),
            "disk": disk_of(folder),
        },
        sites=tuple(_site(site, rows=rows, now=now) for site in sites),
        refusals=_refusals(rows, now),
        notes=((f"{shown(fault, roots=(folder,))}",) if fault else ()) + _stood_out(rows, sites),
        changed=changed,
    )


def _stood_out(rows: Sequence[Row], sites: Sequence[str]) -> tuple[str, ...]:
    """Say of every site that stood out when it did so last, why, and whether its answers are put aside."""
    notes = []
    for site in sites:
        found = stood_out_in([row for row in rows if row["site"] == site])
        if found.get("stood_out"):
            last = found["stood_out"][-1]
            notes.append(f"{site} stood out in round {last['round']}: {last['reason']}")
        if found.get("aside"):
            notes.append(f"{site} is put aside, its answers teach nobody: `mdhfl watch` decides")
    return tuple(notes)


def _rows_of(folder: Path, sites: tuple[str, ...]) -> tuple[list[dict[str, Any]], str]:
    """Return what is shown of the wholly recorded rounds, and what is wrong with the last line if anything is."""
    path = folder / "results.jsonl"
    if not path.exists():
        return [], ""
    found = path.stat()
    return _read_rows(path, sites, found.st_mtime_ns, found.st_size)


@lru_cache(maxsize=64)
def _read_rows(path: Path, sites: tuple[str, ...], changed: int, size: int) -> tuple[list[dict[str, Any]], str]:
    """Read the rows once: who watches asks every other second, and a file of thousands takes a second to check."""
    rows, fault = read_journal(path)
    return [_told(row, path.parent) for row in whole_rounds(rows, sites=sites)], fault


def _told(row: Row, folder: Path) -> dict[str, Any]:
    """Return what is shown of a row, made safe to show; its matrices are not."""
    scores = {part: {n: (row.get(part) or {}).get(n) for n in SCORES} for part in ("test", "validation")}
    kept = {name: row[name] for name in ("round", "site", "status", "reason", "seconds", "watch") if name in row}
    return dict(shown({**kept, **scores}, roots=(folder,)))


class _Now:
    """The round that is under way.

    Attributes:
        running: whether anybody works on it.
        number: the round after the last recorded one.
        answers: site -> what it has answered in it.
        opened: site -> what it said when it was to get ready, at the start of a job.
        starting: whether no site has been asked for more than that yet.
    """

    def __init__(self, steps: Sequence[Step], *, done: int | None, sites: Sequence[str], running: bool) -> None:
        self.running, self.sites = running, sites
        self.number = 0 if done is None else done + 1
        self.answers = {step.site: step for step in steps if step.action in ANSWERS and step.round == self.number}
        self.opened = {step.site: step for step in steps if step.action == "open"}
        self.starting = running and all(step.action == "open" for step in steps)

    def said(self, site: str) -> Step | None:
        """Return what a site has said of this round."""
        return self.answers.get(site) or (self.opened.get(site) if self.starting else None)


def _headline(now: _Now, *, total: int, finished: bool) -> str:
    if finished:
        return f"Finished after round {total}."
    if not now.running:
        recorded = f"after round {now.number - 1} of {total}" if now.number else "before its first round was recorded"
        return f"Nobody works on it; it stopped {recorded}. Submit or resume it to continue."
    waiting = [site for site in now.sites if now.said(site) is None]
    heard = f"{len(now.sites) - len(waiting)} of {len(now.sites)} sites"
    rest = f"; waiting for {_named(waiting)}" if waiting else ""
    if now.starting:
        return f"Starting: {heard} are ready{rest}."
    if now.number > total:
        return f"Round {total} of {total} is recorded; the sites are finishing."
    return f"Round {now.number} of {total}: {heard} have answered{rest}."


def _named(sites: Sequence[str], *, most: int = 5) -> str:
    more = f" and {len(sites) - most} more" if len(sites) > most else ""
    return ", ".join(sites[:most]) + more


def _site(site: str, *, rows: Sequence[Row], now: _Now) -> SiteState:
    own = [row for row in rows if row["site"] == site]
    good = next((row for row in reversed(own) if row["status"] == "ok"), None)
    state, refused_in = _state(now, site, own[-1] if own else None)
    part, scores = _scores(good)
    return SiteState(
        name=site,
        state=state,
        refused_in=refused_in,
        round=None if good is None else int(good["round"]),
        part=part,
        scores=scores,
        seconds={} if good is None else seconds_of(good),
    )


def _state(now: _Now, site: str, last: Row | None) -> tuple[str, int | None]:
    """Return what a site does or did, and in which round it gave no result, if so."""
    said = now.said(site)
    if said is not None:
        return ("refused", said.round) if said.refusal else ("ready" if now.starting else "answered", None)
    if last is not None and last["status"] != "ok":
        return "absent" if last["reason"] == LATE else "refused", int(last["round"])
    if now.running:
        return "at work", None
    return "not heard yet" if last is None else "answered", None


def _scores(row: Row | None) -> tuple[str, dict[str, float]]:
    for part in ("test", "validation"):
        told = ((row or {}).get(part)) or {}
        scores = {name: float(told[name]) for name in SCORES if isinstance(told.get(name), int | float)}
        if scores:
            return part, scores
    return "", {}


def _refusals(rows: Sequence[Row], now: _Now) -> tuple[Refused, ...]:
    recorded = [
        Refused(round=int(row["round"]), site=str(row["site"]), reason=str(row["reason"]))
        for row in rows
        if row["status"] != "ok"
    ]
    steps = [step for step in (*now.opened.values(), *now.answers.values()) if step.refusal]
    fresh = [Refused(round=step.round, site=step.site, reason=step.refusal) for step in steps if now.running]
    return tuple(reversed([*recorded, *dict.fromkeys(fresh)]))[:MOST_REFUSALS]


def _mean_seconds(rows: Sequence[Row]) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    for row in rows:
        for phase, value in seconds_of(row).items():
            found.setdefault(phase, []).append(value)
    return {phase: sum(values) / len(values) for phase, values in found.items()}


def _last_round(record: Mapping[str, Any]) -> int:
    try:
        return Experiment.from_json(record).last_round
    except (ValueError, KeyError, TypeError):  # a method from elsewhere: its code is not run to look at it
        return int(record["rounds"])


def _is_finished(folder: Path) -> bool:
    path = folder / "summary.json"
    return exists(path) and read_sealed_json(path).get("status") == "finished"
