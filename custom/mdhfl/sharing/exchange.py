"""One exchange between the server and its sites: what was asked, what came back, what of it can be used."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from mdhfl.sharing.messages import Answer, Request
from mdhfl.sharing.records import Shared
from mdhfl.sharing.watch import Looks

Ask = Callable[[Mapping[str, Request]], Mapping[str, Answer]]  # sends each site its request, returns what came in time


@dataclass(frozen=True, kw_only=True)
class Round:
    """One recorded round.

    Attributes:
        number: 0 for the warm-up, then 1, 2, ...
        requests: site name -> what it was asked.
        answers: site name -> its answer, one for each site; `refusal` says why there is no result.
        shared: site name -> what it shared and passed the check.
        looks: site name -> what the watch makes of it so far, see `watch.py`; empty where nobody watches.
    """

    number: int
    requests: Mapping[str, Request]
    answers: Mapping[str, Answer]
    shared: Mapping[str, Shared]
    looks: Looks = field(default_factory=dict)

    @property
    def trust(self) -> dict[str, float]:
        """What the weight of each site's share is multiplied by, from 0 to 1."""
        return {site: look.trust for site, look in self.looks.items()}

    @property
    def good(self) -> dict[str, Answer]:
        """The answers that can be used, by site."""
        return {site: answer for site, answer in self.answers.items() if not answer.refusal}
