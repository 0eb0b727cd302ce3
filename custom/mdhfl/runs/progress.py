"""How far a run is: one step per answer, noted by the engines in `progress.jsonl` for whoever watches."""

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mdhfl.sharing.messages import Answer, Request

PROGRESS = "progress.jsonl"  # beside the results


@dataclass(frozen=True, kw_only=True)
class Step:
    """One answer.

    Attributes:
        action: what was asked.
        round: in which round.
        site: who answered.
        refusal: why there is no result; empty if all is well.
    """

    action: str
    round: int
    site: str
    refusal: str

    @classmethod
    def of(cls, request: Request, answer: Answer) -> "Step":
        """Return the step of a request and its answer."""
        return cls(action=request.action, round=request.round, site=answer.site, refusal=answer.refusal)

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


OnStep = Callable[[Step], None]


def note_step(folder: Path, step: Step) -> None:
    """Append a step, if the disk takes it: that it does not, the results will say."""
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / PROGRESS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(step.to_json(), allow_nan=False) + "\n")


def forget_steps(folder: Path) -> None:
    """Begin anew: what is noted was of an attempt that has ended."""
    (folder / PROGRESS).unlink(missing_ok=True)


def read_steps(folder: Path) -> list[Step]:
    """Return the steps so far.

    What follows the last line feed is still being written; a line that a full disk has cut is left out.
    """
    path = folder / PROGRESS
    text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
    steps = []
    for line in text.split("\n")[:-1]:
        with suppress(ValueError, TypeError):
            steps.append(Step(**json.loads(line)))
    return steps


def pass_on(folder: Path, seen: int, on_step: OnStep) -> int:
    """Call `on_step` with the steps noted in a folder after the first `seen`; return how many have been seen now."""
    steps = read_steps(folder)
    for step in steps[seen:]:
        on_step(step)
    return len(steps)
