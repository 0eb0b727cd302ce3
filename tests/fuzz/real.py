"""One real site with a network, between two rounds of a swarm: what it makes of mutated requests and peers' words."""

import random
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from fakes.simulated import changes_for, new_run
from fakes.small_federation import write_federation

from fuzz.mutations import mutated
from mdhfl.rounds.loop import federate
from mdhfl.runs.inprocess import open_sites
from mdhfl.sharing.messages import Answer, Request
from mdhfl.sharing.turns import MergeTurn

SITES = ("site-1", "site-2", "site-3")


class _Learned(Exception):
    """The sites have learned from a merge."""


class RealSite:
    """A member of a plain swarm after its first round, and every message that it was sent in a merge."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="mdhfl-fuzz-")
        folder = Path(self._folder.name)
        federation = write_federation(folder / "fed", sites=SITES, training=6, testing=3, public=4)
        experiment = new_run(folder / "run", federation, recipe="sl_fedl", changes=changes_for("sl_fedl"))
        self._sites = open_sites(folder / "run", names=SITES)
        self._asked: list[Request] = []
        heard: dict[str, list[tuple[str, Mapping[str, Any]]]] = {name: [] for name in SITES}
        for name, site in self._sites.items():
            self._listen(site, heard[name])
        with suppress(_Learned):
            federate(experiment, ask=self._ask, record=lambda finished: None)
        merge = next(request for request in self._asked if request.action == "merge")
        assert isinstance(merge.lesson, MergeTurn)
        self.leader = merge.lesson.leader
        self.name = next(name for name in SITES if name != self.leader)
        self.site = self._sites[self.name]
        self.messages = [dict(message) for sender, message in heard[self.name] if sender == self.leader]
        self.requests = [next(r for r in self._asked if r.action == a) for a in ("warm_up", "merge", "learn")]
        for site in self._sites.values():
            del site.receive

    @staticmethod
    def _listen(site: Any, heard: list[tuple[str, Mapping[str, Any]]]) -> None:
        receive = site.receive
        site.receive = lambda sender, message: (heard.append((sender, message)), receive(sender, message))[1]

    def _ask(self, requests: Mapping[str, Request]) -> dict[str, Answer]:
        """Ask as a server does, until the sites have learned from a merge."""
        self._asked += requests.values()
        answers = {name: self._sites[name].answer(request) for name, request in requests.items()}
        assert not any(answer.refusal for answer in answers.values())
        if next(iter(requests.values())).action == "learn":
            raise _Learned
        return answers

    def hear(self, random: random.Random) -> str:
        """Let it hear a mutated word of its leader."""
        message = mutated(random.choice(self.messages), random=random)
        reply = self.site.receive(self.leader, message)
        return "refused" if reply.get("refusal") else "accepted"

    def asked(self, random: random.Random) -> str:
        """Let it answer a mutated request. It has finished the request's round, so that it trains for few of them."""
        wire = mutated(random.choice(self.requests).to_wire(), random=random)
        try:
            request = Request.from_wire(wire)
        except ValueError:
            return "refused"
        answer = self.site.answer(request)
        assert Answer.from_wire(answer.to_wire()).site == self.name
        if self.site._work is not None and self.site._work.progress is not None:
            assert not self.site._work.progress.stopped, "stopped by a message"
        return "refused" if answer.refusal else "accepted"
