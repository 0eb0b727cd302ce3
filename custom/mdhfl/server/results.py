"""What the server keeps of an experiment: one line per site and round, and the last rounds' shares for a resume."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from mdhfl.files import write_atomically
from mdhfl.metrics import HEADLINES, SCORES, scores_from
from mdhfl.rounds.experiment import Experiment
from mdhfl.server.journal import append_rows, lines_of, read_journal, read_rows
from mdhfl.server.shared_file import load_shared, save_shared
from mdhfl.sharing.accounts import About, Control, Validation
from mdhfl.sharing.exchange import Round
from mdhfl.sharing.knowledge import Knowledge, divergence
from mdhfl.sharing.messages import Answer
from mdhfl.sharing.packing import payload_bytes
from mdhfl.sharing.records import Shared
from mdhfl.store.lock import FolderLock
from mdhfl.store.sealed import Damaged, clean, exists, read_sealed_json, write_sealed_json
from mdhfl.store.terms import differences

PAIRWISE_SITES = 50  # divergences between all pairs are recorded up to this many sites
COSTS = ("bytes_up", "bytes_down", "seconds")


class Results:
    """The results of one experiment in one folder: its terms, `results.jsonl`, `summary.json`, and what was shared.

    Whoever is to record opens them with `resume`, and closes them.
    """

    def __init__(self, folder: Path, *, experiment: Experiment) -> None:
        self.folder = folder
        self.experiment = experiment
        self._lock: FolderLock | None = None

    def close(self) -> None:
        """Let others record in the folder."""
        if self._lock is not None:
            self._lock.release()
        self._lock = None

    def rows(self) -> list[dict[str, Any]]:
        """Return the rows of all wholly recorded rounds. Raises Damaged."""
        return whole_rounds(read_rows(self._path), sites=self.experiment.sites)

    def resume(self) -> Round | None:
        """Lock the folder and return the last recorded round that can be built upon, None if there is none.

        What an interruption left half-written is dropped. Where what was shared in the last round is damaged, that
        round is dropped, too: it is asked for again, and sites answer it from their state.

        Raises:
            InUse: another process records here.
            ValueError: the experiment was begun with something else.
            Damaged: a file is damaged beyond that; the message names it and the way out.
        """
        if self._lock is None:
            way_out = "wait until it has ended, or give another --out"
            self._lock = FolderLock(self.folder, name="results.lock", way_out=way_out)
        clean(self.folder, self.folder / "shared")
        recorded, _ = read_journal(self._path)
        self._check_terms(begun=bool(recorded) or self._newest_shared() >= 0)
        rows = whole_rounds(recorded, sites=self.experiment.sites)
        number = rows[-1]["round"] if rows else -1
        if (newest := self._newest_shared()) > number + 1:
            raise Damaged(
                f"{self._path}: expected the rows of rounds 0 to {newest}, since {self._shared_path(newest)} is there; "
                f"got {number + 1} rounds. Restore the file from a backup, or start a new run"
            )
        number, shared = self._last_shared(number)
        rows = [row for row in rows if row["round"] <= number]
        if self._path.exists() and self._path.read_bytes() != lines_of(rows):
            write_atomically(self._path, lambda file: file.write(lines_of(rows)))
        if number < 0:
            return None
        answers = {row["site"]: _answer_of(row) for row in rows if row["round"] == number}
        request = self.experiment.request("learn", number=number)
        return Round(number=number, requests=dict.fromkeys(answers, request), answers=answers, shared=shared)

    def record(self, finished: Round) -> None:
        """Keep a finished round: first what was shared, then, in one write, its rows."""
        if not exists(self._terms_path):
            self._write_terms()
        save_shared(self._shared_path(finished.number), finished.shared)
        append_rows(self._path, rows_of(finished))
        kept = [self._shared_path(number) for number in (finished.number - 1, finished.number)]
        for old in (self.folder / "shared").glob("round-*.npz*"):
            if old not in kept:
                old.unlink()

    def summarise(
        self, *, engine: str, federation: str, unfinished: Mapping[str, str] = MappingProxyType({})
    ) -> dict[str, Any]:
        """Write `summary.json` from the recorded rows and return it.

        Args:
            engine: "flare" or "inprocess".
            federation: what it is known by.
            unfinished: site -> why it could not finish.
        """
        experiment = self.experiment
        record = {**experiment.to_json(), "engine": engine, "federation": federation}
        summary = summary_of(self.rows(), experiment=record, sites=experiment.sites, last_round=experiment.last_round)
        for site, reason in unfinished.items():
            summary["sites"][site]["refused"].append(
                {"round": experiment.last_round, "reason": f"at the end: {reason}"}
            )
        write_sealed_json(self.folder / "summary.json", summary)
        return summary

    @property
    def _path(self) -> Path:
        return self.folder / "results.jsonl"

    def _shared_path(self, number: int) -> Path:
        return self.folder / "shared" / f"round-{number:04d}.npz"

    def _newest_shared(self) -> int:
        """Return the newest round whose shares are there, -1 for none."""
        names = [path.name for path in (self.folder / "shared").glob("round-*.npz")]
        return max((int(found[1]) for name in names if (found := re.fullmatch(r"round-(\d+)\.npz", name))), default=-1)

    def _last_shared(self, number: int) -> tuple[int, dict[str, Shared]]:
        """Return what was shared in a round, or in the one before it, with that round's number; -1 for none."""
        if number < 0:
            return -1, {}
        try:
            return number, load_shared(self._shared_path(number), number=number)
        except Damaged as fault:
            if number == 0:
                return -1, {}
            try:
                return number - 1, load_shared(self._shared_path(number - 1), number=number - 1)
            except Damaged:
                raise Damaged(f"{fault}; restore it from a backup, or start a new run") from fault

    @property
    def _terms_path(self) -> Path:
        return self.folder / "terms.json"

    def _write_terms(self) -> None:
        for _ in range(2):  # the second is the copy
            write_sealed_json(self._terms_path, {"version": 1, "terms": self.experiment.terms})

    def _check_terms(self, *, begun: bool) -> None:
        """Write down what the experiment begins with, or refuse to continue it with anything else."""
        if not begun:
            self._write_terms()
        elif found := differences(read_sealed_json(self._terms_path)["terms"], self.experiment.terms):
            raise ValueError(
                f"{self.folder}: experiment {self.experiment.id!r} was begun with something else: {found}. Continue it "
                "as it was begun, or start a new one: another --out, or another --experiment"
            )


def _answer_of(row: Mapping[str, Any]) -> Answer:
    """Return what the next round needs of a recorded answer."""
    about = row.get("about")
    return Answer(
        site=row["site"],
        round=row["round"],
        refusal=row["reason"] or "",
        about=About.from_plain(about) if about else None,
    )


def rows_of(finished: Round) -> list[dict[str, Any]]:
    """Turn a round into rows, one per site, as written to `results.jsonl`."""
    between = _divergences({s: said for s, said in finished.shared.items() if isinstance(said, Knowledge)})
    down = {id(request): payload_bytes(request) for request in finished.requests.values()}
    return [
        _row(answer, divergences=between.get(site), down=down[id(finished.requests[site])])
        for site, answer in finished.answers.items()
    ]


def _row(answer: Answer, *, divergences: Mapping[str, float] | None, down: int) -> dict[str, Any]:
    row: dict[str, Any] = {"round": answer.round, "site": answer.site, "status": "ok", "reason": None}
    if answer.refusal or answer.about is None:
        return {**row, "status": "refused", "reason": answer.refusal}
    return {
        **row,
        "losses": asdict(answer.losses),
        "validation": _scores(answer.validation),
        "test": _test(answer),
        "divergence": dict(divergences) if divergences is not None else None,
        "seconds": dict(answer.cost.seconds),
        "bytes": {
            "up": payload_bytes(answer) + answer.cost.peers_up,
            "down": down + answer.cost.peers_down,
        },
        "best": answer.best,
        "about": answer.about.to_plain(),
        **({"control": _control(answer.control)} if answer.control else {}),
    }


def _control(control: Control) -> dict[str, Any]:
    """Return how a site's twin does, and what sharing brought, as in a row."""
    return {
        "validation": asdict(control.validation),
        "test": _test(control),
        **{name: getattr(control, name) for name in ("difference", "low", "high", "harmed")},
    }


def _test(told: Answer | Control) -> dict[str, Any]:
    """Return the scores on the test part as far as a site told them, None where it did not."""
    if told.confusion is None:
        return {**_scores(told.test), "recall": None, "confusion": None}
    scores = scores_from(told.confusion, ece=told.test_ece)
    return {name: getattr(scores, name) for name in (*SCORES, "recall", "confusion")}


def _scores(told: Validation | None) -> dict[str, float | None]:
    return dict.fromkeys(SCORES) if told is None else asdict(told)


def _divergences(knowledge: Mapping[str, Knowledge]) -> dict[str, dict[str, float]]:
    """Return site -> other -> mean KL(other || site) over the public set; nothing for logits or too many sites."""
    names = sorted(name for name, k in knowledge.items() if k.subject.kind == "probabilities")
    if not names or len(names) > PAIRWISE_SITES:
        return {}
    values = np.stack([knowledge[name].values for name in names])
    matrix = divergence(values, values)
    return {
        site: {other: float(matrix[j, k]) for j, other in enumerate(names) if j != k} for k, site in enumerate(names)
    }


def whole_rounds(rows: Sequence[Mapping[str, Any]], *, sites: Sequence[str]) -> list[dict[str, Any]]:
    """Keep the rows of rounds 0, 1, ... up to the last one that has a row for every site."""
    kept: list[dict[str, Any]] = []
    number = 0
    while True:
        found = [dict(row) for row in rows if row["round"] == number]
        if {row["site"] for row in found} != set(sites):
            return kept
        kept += found
        number += 1


def summary_of(
    rows: Sequence[Mapping[str, Any]], *, experiment: Mapping[str, Any], sites: Sequence[str], last_round: int
) -> dict[str, Any]:
    """Summarise recorded rows: per site the last round's scores on the clean test part, and the mean over sites.

    Args:
        rows: of `results.jsonl`, whole or not.
        experiment: its record: id, method, parameters, engine, seed, federation; what is missing stays out.
        sites: all of them, in order.
        last_round: the number of the experiment's last round.
    """
    found = {site: _site_summary([row for row in rows if row["site"] == site]) for site in sites}
    answered = [site for site in found.values() if "round" in site]
    rounds = max((int(row["round"]) for row in rows), default=0)
    kept = ("id", "method", "parameters", "engine", "seed", "federation")
    return {
        "version": 1,
        **{name: experiment[name] for name in kept if name in experiment},
        "rounds": rounds,
        "sites": found,
        "mean": {name: _mean([site[name] for site in answered]) for name in (*SCORES, *COSTS)} if answered else {},
        "status": "finished" if rows and rounds == last_round else "unfinished",
    }


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _site_summary(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    good = [row for row in rows if row["status"] == "ok"]
    refused = [{"round": row["round"], "reason": row["reason"]} for row in rows if row["status"] != "ok"]
    if not good:
        return {"accuracy": None, "refused": refused}
    last, best = good[-1], max(good, key=lambda row: (row.get("validation") or {}).get("macro_f1") or 0.0)
    bytes_ = {way: sum((row.get("bytes") or {}).get(way, 0) for row in good) for way in ("up", "down")}
    return {
        **(last.get("about") or {}),
        **{name: (last.get("test") or {}).get(name) for name in (*SCORES, "recall")},
        "round": last["round"],
        "best": {"round": best["round"], **{name: (best.get("test") or {}).get(name) for name in HEADLINES}},
        "bytes_up": bytes_["up"],
        "bytes_down": bytes_["down"],
        "seconds": round(sum(sum(seconds_of(row).values()) for row in good), 3),
        "refused": refused,
    }


def seconds_of(row: Mapping[str, Any]) -> dict[str, float]:
    """Return a row's seconds by phase; what is not a number is left out."""
    found = (row.get("seconds") or {}).items()
    return {phase: float(value) for phase, value in found if isinstance(value, int | float)}
