"""Swarms of the three small sites, for tests: their ledgers, and what is spoiled between the server and the peers."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fakes.simulated import changes_for, new_run
from mdhfl.rounds.experiment import Experiment
from mdhfl.runs.folder import read_run
from mdhfl.runs.inprocess import ask_in_process, open_sites
from mdhfl.server.results import Results
from mdhfl.sharing.messages import Answer, Request
from mdhfl.sharing.turns import Member
from mdhfl.site.site import Site
from mdhfl.swarm.ledger import Ledger

SITES = ("site-1", "site-2", "site-3")


def ledger_path(folder: Path, site: str) -> Path:
    (path,) = (folder / "sites" / site).glob("*/ledger.jsonl")
    return path


def ledgers_of(folder: Path) -> dict[str, Ledger]:
    identity = read_run(folder)[0].id
    return {site: Ledger.load(ledger_path(folder, site), experiment=identity) for site in SITES}


def without_swarm(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**row, "about": {**row["about"], "merged_by": ""}} for row in rows]


class Spoiled:
    """An `ask` whose answers are spoiled on the way, for one action and round."""

    def __init__(self, folder: Path, spoil: Any) -> None:
        self.sites = open_sites(folder, names=SITES)
        self._ask, self._spoil = ask_in_process(self.sites), spoil
        self.asked: list[Request] = []

    def __call__(self, requests: Mapping[str, Request]) -> Mapping[str, Answer]:
        self.asked += list({id(r): r for r in requests.values()}.values())
        return self._spoil(self._ask, requests)


def start(folder: Path, federation: Path, *, rounds: int = 2, recipe: str = "sl_fedl") -> tuple[Experiment, Results]:
    experiment = new_run(folder, federation, recipe=recipe, rounds=rounds, changes=changes_for(recipe))
    return experiment, Results(folder, experiment=experiment)


def with_a_spoiled_peer(
    folder: Path, site: str, receive: Callable[[Site, str, Mapping[str, Any]], dict[str, Any]]
) -> Spoiled:
    """Return an `ask`; during the merge of round 0 one site answers its peers by another function."""

    def spoil(ask: Any, requests: Mapping[str, Request]) -> Mapping[str, Answer]:
        request, peer = next(iter(requests.values())), spoiled.sites[site]
        if (request.action, request.round) == ("merge", 0):
            peer.receive = lambda sender, message: receive(peer, sender, message)  # type: ignore[method-assign]
        else:
            peer.__dict__.pop("receive", None)
        return ask(requests)

    spoiled = Spoiled(folder, spoil)
    return spoiled


def member_of(folder: Path, site: str) -> Member:
    rows = Results(folder, experiment=read_run(folder)[0]).rows()
    about = next(row["about"] for row in rows if row["site"] == site)
    return Member(layout=about["layout"], images=about["training_images"])
