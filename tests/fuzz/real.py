"""One real site with a network, between two rounds of a swarm: what it makes of mutated requests and peers' words."""

import random
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fakes.simulated import changes_for, new_run
from fakes.small_federation import write_federation

from fuzz.mutations import mutated
from mdhfl.runs.inprocess import open_sites
from mdhfl.sharing.messages import Answer, Request
from mdhfl.sharing.turns import Member, MergeTurn, elect

SITES = ("site-1", "site-2", "site-3")


class RealSite:
    """A member of a plain swarm after its first round, and every message that it was sent in a merge."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="mdhfl-fuzz-")
        folder = Path(self._folder.name)
        federation = write_federation(folder / "fed", sites=SITES, training=6, testing=3, public=4)
        experiment = new_run(folder / "run", federation, recipe="sl_fedl", changes=changes_for("sl_fedl"))
        sites = open_sites(folder / "run", names=SITES)
        warm_up = experiment.request("warm_up", number=0)
        answers = {name: sites[name].answer(warm_up) for name in SITES}
        members = {name: Member(layout=a.about.layout, images=6) for name, a in answers.items() if a.about}
        leader = elect(SITES, experiment=experiment.id, number=0)[0]
        turn = MergeTurn(round=0, attempt=0, leader=leader, members=members)
        self.name = next(name for name in SITES if name != leader)
        self.site, self.leader = sites[self.name], leader
        heard: list[Mapping[str, Any]] = []
        receive = self.site.receive
        self.site.receive = lambda sender, message: (heard.append(message), receive(sender, message))[1]  # type: ignore
        merge = experiment.request("merge", number=0, lesson=turn)
        assert not sites[leader].answer(merge).refusal
        self.site.receive = receive  # type: ignore[method-assign]
        self.messages = [dict(message) for message in heard]
        learned = experiment.request("learn", number=1, lesson=turn)
        for name in SITES:
            assert not sites[name].answer(learned).refusal
        self.requests = [warm_up, merge, learned]  # answered from the state: nothing is trained

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
