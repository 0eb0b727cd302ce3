"""How far a run is: one step per answer, noted by the engines for whoever watches."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mdhfl.sharing.messages import Answer, Request


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


def pass_on(progress: Path, seen: int, on_step: OnStep) -> int:
    """Call `on_step` with the steps of a progress.jsonl after the first `seen`; return how many have been seen now."""
    text = progress.read_text(encoding="utf-8") if progress.exists() else ""
    lines = text.split("\n")[:-1]  # what follows the last line feed is still being written
    for line in lines[seen:]:
        on_step(Step(**json.loads(line)))
    return len(lines)
