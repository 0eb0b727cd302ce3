"""What a site keeps for its own report: a line for each answer that ends a round, with all scores, and each refusal.

Each line holds what was asked. A refused request may ask for anything under the experiment's name, so what the
experiment is comes from a request that the site has followed.

Nothing starts from this file: a line that the disk did not take is missing in the report, no more.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mdhfl.sharing.messages import Answer, Request
from mdhfl.sharing.packing import payload_bytes
from mdhfl.site.settings import SiteSettings
from mdhfl.store.lines import ends_whole
from mdhfl.timing import now

HISTORY = "history.jsonl"  # in the site's folder of the experiment


@dataclass(frozen=True, kw_only=True)
class Part:
    """A site's part in an experiment, as the site knows it.

    Attributes:
        site: its name.
        bundle: name or path.
        bundle_changes: of its training, see `learning/bundle_changes.py`.
        bundle_digest: of the bundle that trained; empty before the first round has ended.
        data: its folder of images.
        experiment: the id.
        method: its name.
        parameters: of the method.
        seed: of the experiment.
        classes: in order.
        public_digest: of the public set.
        answers: in time: each refusal, and the last answer of each round that ended well.
        received: round -> bytes of the server's last request.
        finished: whether the server has ended the experiment.
        damaged: how many lines cannot be read.
    """

    site: str
    bundle: str
    bundle_changes: Mapping[str, Any]
    bundle_digest: str
    data: Path
    experiment: str
    method: str
    parameters: Mapping[str, Any]
    seed: int
    classes: tuple[str, ...]
    public_digest: str
    answers: tuple[Answer, ...]
    received: Mapping[int, int]
    finished: bool
    damaged: int

    @property
    def last_round(self) -> int:
        """The last round that ended well; 0 if none did."""
        return max((answer.round for answer in self.answers if not answer.refusal), default=0)


def keep(folder: Path, answer: Answer, *, request: Request, settings: SiteSettings, bundle_digest: str = "") -> None:
    """Append a line on an answer; a disk that does not take it costs no round.

    Args:
        folder: the site's, of the experiment.
        answer: with all scores, whatever leaves of them; what it shares is not kept.
        request: what was asked.
        settings: the site's.
        bundle_digest: of the bundle that has answered; empty for a refusal.
    """
    told = answer.to_wire()
    line = {
        "time": now(),
        "action": request.action,
        "site": settings.site,
        "bundle": settings.bundle,
        "bundle_changes": dict(settings.bundle_changes),
        "bundle_digest": bundle_digest,
        "data": str(settings.data),
        "experiment": request.experiment,
        "method": request.method,
        "parameters": dict(request.parameters),
        "seed": request.seed,
        "classes": list(request.subject.classes),
        "public_digest": request.subject.public_digest,
        "received": payload_bytes(request),
        "answer": _plain({**told, "shared": None}),
    }
    with suppress(OSError, ValueError, TypeError):
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / HISTORY).open("ab+") as file:
            text = json.dumps(line, separators=(",", ":"), allow_nan=False) + "\n"
            file.write((("" if ends_whole(file) else "\n") + text).encode())


def read_part(folder: Path) -> Part:
    """Read a site's part in an experiment.

    Args:
        folder: the experiment's, in the site's state folder.

    Raises:
        ValueError: the site keeps nothing there that can be read; where it holds such folders, they are named.
    """
    lines, damaged = [], 0
    path = folder / HISTORY
    for text in path.read_bytes().splitlines() if path.is_file() else ():
        try:
            line = json.loads(text)
            lines.append((line, _answer_of(line["answer"])))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            damaged += 1
    if not lines:
        below = sorted(each.parent.name for each in folder.glob(f"*/{HISTORY}"))
        hint = (
            f"give one of the experiments in it: {', '.join(below)}" if below else "the site has answered nothing yet"
        )
        raise ValueError(f"{path}: expected a site's history of one experiment, found none; {hint}")
    good = [(line, answer) for line, answer in lines if not answer.refusal and answer.about is not None]
    own = (good or [pair for pair in lines if not pair[1].refusal] or lines)[-1][0]
    latest = {answer.round: answer for _, answer in good}
    try:
        return Part(
            **{name: str(own[name]) for name in ("site", "bundle", "experiment", "method", "public_digest")},
            bundle_digest=next((str(line["bundle_digest"]) for line, _ in reversed(good)), ""),
            bundle_changes=dict(own["bundle_changes"]),
            data=Path(own["data"]),
            parameters=dict(own["parameters"]),
            seed=int(own["seed"]),
            classes=tuple(map(str, own["classes"])),
            answers=tuple(
                answer
                for _, answer in lines
                if answer.refusal or (answer.about is not None and latest[answer.round] is answer)
            ),
            received={answer.round: int(line["received"]) for line, answer in good},
            finished=any(line["action"] == "finish" and not answer.refusal for line, answer in lines),
            damaged=damaged,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: expected a site's history, got {type(error).__name__}: {error}") from error


def _answer_of(values: Mapping[str, Any]) -> Answer:
    control = values["control"]
    if control is not None:
        control = {**control, "confusion": _counts(control["confusion"])}
    return Answer.from_wire({**values, "confusion": _counts(values["confusion"]), "control": control})


def _counts(rows: Any) -> Any:
    return None if rows is None else np.array(rows, dtype=np.uint32)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _plain(each) for name, each in value.items()}
    return value.tolist() if isinstance(value, np.ndarray) else value
