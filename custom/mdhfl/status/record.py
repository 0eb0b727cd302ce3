"""What is shown of an experiment: the same for a terminal and a page."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class SiteState:
    """A site in an experiment; its texts are `shown`.

    Attributes:
        name: the site's.
        state: "answered", "at work", "ready", "refused", "absent" (not heard in time) or "not heard yet".
        refused_in: the round that it refused or was absent in, where that is its state.
        round: the last round with scores, None for none.
        part: of its data that the scores are on: "test", "validation", or "" where it tells none.
        scores: name -> in [0, 1], of `metrics.SCORES`.
        seconds: phase -> seconds in that round.
    """

    name: str
    state: str
    refused_in: int | None = None
    round: int | None = None
    part: str = ""
    scores: Mapping[str, float] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def standing(self) -> str:
        """The state, with the round that it is about."""
        return self.state if self.refused_in is None else f"{self.state} in round {self.refused_in}"


@dataclass(frozen=True, kw_only=True)
class Refused:
    """One round that a site refused, or was absent in; its texts are `shown`."""

    round: int
    site: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Status:
    """How an experiment stands at one place; its texts are `shown`.

    Attributes:
        experiment: its id, or the folder's name where that cannot be read.
        role: "server" or "site".
        state: "running", "stopped" (nobody works on it), "finished" or "unreadable".
        headline: one sentence.
        done, total: the last recorded round and the last round there will be; None where that is not known.
        facts: label -> value, in order.
        sites: all of them; at a site, itself.
        refusals: the last ones, the newest first.
        notes: what is damaged or missing.
        changed: when anything was written last, seconds since the epoch.
    """

    experiment: str
    role: str
    state: str
    headline: str
    done: int | None = None
    total: int | None = None
    facts: Mapping[str, str] = field(default_factory=dict)
    sites: tuple[SiteState, ...] = ()
    refusals: tuple[Refused, ...] = ()
    notes: tuple[str, ...] = ()
    changed: float = 0.0

    @property
    def phases(self) -> tuple[str, ...]:
        """The phases that any site took seconds for."""
        return tuple(dict.fromkeys(phase for site in self.sites for phase in site.seconds))

    @property
    def round(self) -> str:
        """The last recorded round, of how many."""
        done = "none" if self.done is None else str(self.done)
        return done if self.total is None else f"{done} of {self.total}"
