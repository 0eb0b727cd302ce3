"""What the server keeps of an experiment: one line per site and round, and the last rounds' shares for a resume."""

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from mdhfl.files import write_atomically
from mdhfl.rounds.experiment import Experiment
from mdhfl.server.decisions import read_decisions
from mdhfl.server.journal import append_rows, lines_of, read_journal, read_rows
from mdhfl.server.rows import rows_of, summary_of, whole_rounds
from mdhfl.server.shared_file import load_shared, save_shared, shared_path
from mdhfl.sharing.accounts import About
from mdhfl.sharing.exchange import Round
from mdhfl.sharing.messages import Answer
from mdhfl.sharing.records import Shared
from mdhfl.sharing.watch import Look
from mdhfl.store.lock import FolderLock
from mdhfl.store.sealed import Damaged, clean, read_sealed_json, write_sealed_json
from mdhfl.store.terms import differences


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
        if recorded or self._newest_shared() >= 0:
            self._check_terms()
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
        looks = {
            row["site"]: Look.from_plain(row["watch"]) for row in rows if row["round"] == number and row.get("watch")
        }
        return Round(
            number=number, requests=dict.fromkeys(answers, request), answers=answers, shared=shared, looks=looks
        )

    def record(self, finished: Round) -> None:
        """Keep a finished round: before the first the terms, then what was shared, then, in one write, its rows."""
        if finished.number == 0:
            for _ in range(2):  # the second is the copy
                write_sealed_json(self._terms_path, {"version": 1, "terms": self.experiment.terms})
        save_shared(self._shared_path(finished.number), finished.shared)
        append_rows(self._path, rows_of(finished))
        kept = [self._shared_path(number) for number in (finished.number - 1, finished.number)]
        for old in (self.folder / "shared").glob("round-*.npz*"):
            if old not in kept:
                old.unlink()

    def decisions(self) -> dict[str, str]:
        """Return what the operator has decided about sites that stand out, as it is now. Raises Damaged."""
        return read_decisions(self.folder)

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
        return shared_path(self.folder, number)

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

    def _check_terms(self) -> None:
        """Refuse to continue the experiment with anything else than it was begun with."""
        if found := differences(read_sealed_json(self._terms_path)["terms"], self.experiment.terms):
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
