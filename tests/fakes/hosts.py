"""A server that hosts a public set, a call away: what was asked of it, and how it may fail or lie."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fakes.simulated import new_run
from mdhfl.hosting.fetching import Fetcher, HostGone
from mdhfl.hosting.hosted import HostedSet
from mdhfl.hosting.offer import Offer
from mdhfl.hosting.pieces import Question
from mdhfl.rounds.experiment import Experiment
from mdhfl.runs.folder import site_settings_path
from mdhfl.sharing.messages import Request
from mdhfl.site.border import Border
from mdhfl.site.settings import SiteSettings, read_site_settings
from mdhfl.site.site import Site
from mdhfl.site.work import Surroundings
from mdhfl.swarm.peers import NoPeers

Change = Callable[[Question, dict[str, Any]], Any]


@dataclass
class Host:
    """Answers as a server does.

    Attributes:
        hosted: what it hosts; None: nothing it says comes through.
        lives: questions about images that are answered before it is gone.
        change: what becomes of an answer on the way.
        asked: all questions, in order.
        border: of the site that asks; None: there is none.
    """

    hosted: HostedSet
    lives: float = float("inf")
    change: Change = lambda question, answer: answer
    asked: list[Question] = field(default_factory=list)
    border: Border | None = None

    def __call__(self, wire: Mapping[str, Any]) -> Any:
        question = Question.from_wire(wire)
        if question.about == "images":
            if self.lives <= 0:
                raise HostGone("the server is gone")
            self.lives -= 1
        self.asked.append(question)
        return self.change(question, self.hosted.answer(wire))

    def ask(self, question: Mapping[str, Any], *, request: Request) -> Any:
        return self(question if self.border is None else self.border.question(question, request))

    def fetcher(self, *, told: list[tuple[int, int]] | None = None, digest: str = "") -> Fetcher:
        return Fetcher(
            self,
            public_digest=digest or self.hosted.offer.public_digest,
            should_stop=lambda: False,
            tell=lambda here, whole: None if told is None else told.append((here, whole)),
        )

    @property
    def asked_for(self) -> int:
        """Bytes of images that were asked for and answered, at most a piece each."""
        from mdhfl.hosting.pieces import LARGEST_PIECE

        return sum(min(q.stop, q.start + LARGEST_PIECE) - q.start for q in self.asked if q.about == "images")


def flipped(at: int, *, times: float = 1) -> Change:
    """Return a change that flips a bit of the byte at a place of the images, so many times."""
    left = times

    def change(question: Question, answer: dict[str, Any]) -> dict[str, Any]:
        nonlocal left
        payload = bytearray(answer["bytes"])
        if question.about == "images" and 0 <= at - question.start < len(payload) and left > 0:
            left -= 1
            payload[at - question.start] ^= 1
        return {**answer, "bytes": bytes(payload)}

    return change


def offering(offer: Any) -> Change:
    """Return a change that puts another offer in the place of the server's: JSON values, or bytes."""
    import json

    payload = offer if isinstance(offer, bytes) else json.dumps(offer).encode()

    def change(question: Question, answer: dict[str, Any]) -> dict[str, Any]:
        if question.about != "offer":
            return answer
        return {**answer, "bytes": payload[question.start : question.start + 2**20], "total": len(payload)}

    return change


@dataclass(frozen=True)
class Hosted:
    """A site of a run that has no public set of its own, and a server that has one."""

    run: Path
    experiment: Experiment
    host: Host
    settings: SiteSettings

    @property
    def offer(self) -> Offer:
        return self.host.hosted.offer

    @property
    def folder(self) -> Path:
        return self.settings.state / "_public" / self.offer.public_digest

    def with_settings(self, **changes: Any) -> "Hosted":
        return replace(self, settings=replace(self.settings, **changes))

    def site(self) -> Site:
        self.host.border = Border(self.settings)
        return Site(self.settings, surroundings=Surroundings(peers=NoPeers(), host=self.host))

    def refusal(self) -> str:
        """Let the site get ready as a new process does; return why it is not."""
        site = self.site()
        try:
            return site.answer(self.experiment.request("open", number=0)).refusal
        finally:
            site.close()

    def log(self) -> str:
        return (self.settings.state / "site.log").read_text()


def hosted_run(folder: Path, federation: Path, **options: Any) -> Hosted:
    """Write a run whose first site has accepted what the server offers."""
    experiment = new_run(folder, federation, **options)
    hosted = HostedSet(federation / "public")
    settings = read_site_settings(site_settings_path(folder, "site-1"))
    settings = replace(settings, public=None, accept_public=(hosted.offer.digest,))
    return Hosted(folder, experiment, Host(hosted), settings)
