"""How far a run is: one step per answer, noted by the engines for whoever watches."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
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
