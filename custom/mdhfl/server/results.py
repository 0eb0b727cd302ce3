"""What the server keeps of an experiment: one line per site and round, and the last round's knowledge for a resume."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from mdhfl.files import write_atomically
from mdhfl.methods.method import Shared, kind_of
from mdhfl.metrics import scores_from
from mdhfl.rounds.experiment import Experiment
from mdhfl.rounds.loop import Round
from mdhfl.sharing.knowledge import Knowledge, divergence
from mdhfl.sharing.messages import Answer, payload_bytes
from mdhfl.sharing.weights import Weights

PAIRWISE_SITES = 50  # divergences between all pairs are recorded up to this many sites
SCORE_NAMES = ("accuracy", "macro_f1", "balanced_accuracy", "ece")


class Results:
    """The results of one experiment in one folder: `results.jsonl`, `summary.json` and the server's knowledge."""

    def __init__(self, folder: Path, *, experiment: Experiment) -> None:
        self.folder = folder
        self.experiment = experiment

    def rows(self) -> list[dict[str, Any]]:
        """Return the rows of all wholly recorded rounds."""
        return whole_rounds(read_rows(self.folder / "results.jsonl"), sites=self.experiment.sites)

    def resume(self) -> Round | None:
        """Return the last recorded round, None if there is none; drop what an interruption left half-written.

        Raises:
            ValueError: the knowledge of the last recorded round is missing or damaged.
        """
        rows = self.rows()
        if not rows:
            return None
        write_atomically(self.folder / "results.jsonl", lambda file: file.write(_lines(rows)))
        number = rows[-1]["round"]
        answers = {row["site"]: _answer_of(row) for row in rows if row["round"] == number}
        return Round(
            number=number,
            requests=dict.fromkeys(answers, self.experiment.request("learn", round_=number)),
            answers=answers,
            shared=self._load_shared(number),
        )

    def record(self, finished: Round) -> None:
        """Keep a finished round: first what was shared, then, in one write, its rows."""
        self._save_shared(finished)
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "results.jsonl").open("ab") as file:
            file.write(_lines(rows_of(finished)))
            file.flush()
            os.fsync(file.fileno())
        for old in (self.folder / "shared").glob("round-*.npz"):
            if old != self._shared_path(finished.number):
                old.unlink()

    def summarise(self, *, engine: str, federation: str) -> dict[str, Any]:
        """Write `summary.json` from the recorded rows and return it."""
        summary = summary_of(self.rows(), experiment=self.experiment, engine=engine, federation=federation)
        text = json.dumps(summary, indent=2) + "\n"
        write_atomically(self.folder / "summary.json", lambda file: file.write(text.encode()))
        return summary

    def _shared_path(self, number: int) -> Path:
        return self.folder / "shared" / f"round-{number:04d}.npz"

    def _save_shared(self, finished: Round) -> None:
        # Names go beside the arrays, not into the archive's member names: a site may be called anything.
        arrays = {f"values_{i}": said.values for i, said in enumerate(finished.shared.values())}
        about = json.dumps([_about_shared(said) for said in finished.shared.values()])

        def write(file: IO[bytes]) -> None:
            np.savez(file, about=np.frombuffer(about.encode(), dtype=np.uint8), **arrays)  # type: ignore[arg-type]

        write_atomically(self._shared_path(finished.number), write)

    def _load_shared(self, number: int) -> dict[str, Shared]:
        path = self._shared_path(number)
        try:
            with np.load(path, allow_pickle=False) as file:
                about = json.loads(file["about"].tobytes())
                values = [file[f"values_{i}"] for i in range(len(about))]
        except (OSError, ValueError, KeyError) as error:
            raise ValueError(
                f"{path}: expected what was shared in round {number}, got {error}; restore it, or start anew"
            ) from error
        subject = self.experiment.subject(kind_of(self.experiment.create_method().shares))
        return {
            said["site"]: Weights(**said, values=array, round=number)
            if "layout" in said
            else Knowledge(**said, values=array, subject=subject, round=number)
            for said, array in zip(about, values, strict=True)
        }


def _about_shared(said: Shared) -> dict[str, Any]:
    names = ("site", "layout", "bundle", "images") if isinstance(said, Weights) else ("site", "confidence")
    return {name: getattr(said, name) for name in names}


def _answer_of(row: Mapping[str, Any]) -> Answer:
    """Return what the next round needs of a recorded answer."""
    return Answer(site=row["site"], round=row["round"], refusal=row["reason"] or "", about=row.get("about", {}))


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
    if answer.refusal or answer.confusion is None:
        return {**row, "status": "refused", "reason": answer.refusal}
    scores = scores_from(answer.confusion, ece=answer.test_ece)
    return {
        **row,
        "losses": dict(answer.losses),
        "validation": dict(answer.validation),
        "test": {name: getattr(scores, name) for name in (*SCORE_NAMES, "recall", "confusion")},
        "divergence": dict(divergences) if divergences is not None else None,
        "seconds": dict(answer.seconds),
        "bytes": {
            "up": payload_bytes(answer) + answer.peer_bytes.get("up", 0),
            "down": down + answer.peer_bytes.get("down", 0),
        },
        "best": answer.best,
        "about": dict(answer.about),
    }


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


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Read results.jsonl; a half-written last line is left out."""
    if not path.exists():
        return []
    rows = []
    for line in path.read_bytes().split(b"\n"):
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows


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
    rows: Sequence[Mapping[str, Any]], *, experiment: Experiment, engine: str, federation: str
) -> dict[str, Any]:
    """Summarise recorded rows: per site the last round's scores on the clean test part, and the mean over sites."""
    sites = {site: _site_summary([row for row in rows if row["site"] == site]) for site in experiment.sites}
    scored = [site for site in sites.values() if site.get("accuracy") is not None]
    names = (*SCORE_NAMES, "bytes_up", "bytes_down", "seconds")
    rounds = max((row["round"] for row in rows), default=0)
    return {
        "version": 1,
        "id": experiment.id,
        "method": experiment.method,
        "parameters": dict(experiment.parameters),
        "engine": engine,
        "seed": experiment.seed,
        "rounds": rounds,
        "federation": federation,
        "sites": sites,
        "mean": {name: float(np.mean([site[name] for site in scored])) for name in names} if scored else {},
        "status": "finished" if rounds == experiment.last_round else "unfinished",
    }


def _site_summary(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    good = [row for row in rows if row["status"] == "ok"]
    refused = [{"round": row["round"], "reason": row["reason"]} for row in rows if row["status"] != "ok"]
    if not good:
        return {"accuracy": None, "refused": refused}
    last, best = good[-1], max(good, key=lambda row: row["validation"]["macro_f1"])
    return {
        **last["about"],
        **{name: last["test"][name] for name in (*SCORE_NAMES, "recall")},
        "round": last["round"],
        "best": {
            "round": best["round"],
            **{name: best["test"][name] for name in ("accuracy", "macro_f1", "balanced_accuracy")},
        },
        "bytes_up": sum(row["bytes"]["up"] for row in good),
        "bytes_down": sum(row["bytes"]["down"] for row in good),
        "seconds": round(sum(sum(row["seconds"].values()) for row in good), 3),
        "refused": refused,
    }


def _lines(rows: Sequence[Mapping[str, Any]]) -> bytes:
    return "".join(json.dumps(row, separators=(",", ":")) + "\n" for row in rows).encode()
