"""Swarms of the three small sites, for tests: their ledgers, and what is spoiled between the server and the peers."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from fakes.simulated import changes_for, new_run, numbers_of, tiny_bundle
from mdhfl.rounds.experiment import Experiment
from mdhfl.runs.folder import read_run
from mdhfl.runs.inprocess import ask_in_process, open_sites, run_in_process
from mdhfl.server.results import Results
from mdhfl.sharing.messages import Answer, Request
from mdhfl.sharing.turns import Commitment, MergeTurn, Roll
from mdhfl.site.site import Site
from mdhfl.swarm.kept import load_kept
from mdhfl.swarm.keys import SigningKey
from mdhfl.swarm.ledger import Ledger

SITES = ("site-1", "site-2", "site-3")


def ledger_path(folder: Path, site: str) -> Path:
    (path,) = (folder / "sites" / site).glob("*/ledger.jsonl")
    return path


def ledgers_of(folder: Path) -> dict[str, Ledger]:
    identity = read_run(folder)[0].id
    return {site: Ledger.load(ledger_path(folder, site), experiment=identity, newest=1000) for site in SITES}


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

    def close(self) -> None:
        """Let others use the sites' folders, as if this process had ended."""
        for site in self.sites.values():
            site.close()


def start(
    folder: Path, federation: Path, *, rounds: int = 2, recipe: str = "sl_fedl", min_sites: int | None = None
) -> tuple[Experiment, Results]:
    bundles = (str(tiny_bundle(folder.parent / "tiny")),)
    experiment = new_run(
        folder,
        federation,
        recipe=recipe,
        rounds=rounds,
        changes=changes_for(recipe),
        bundles=bundles,
        min_sites=min_sites,
    )
    return experiment, Results(folder, experiment=experiment)


def with_a_spoiled_peer(
    folder: Path, site: str, receive: Callable[[Site, str, Mapping[str, Any]], dict[str, Any]]
) -> Spoiled:
    """Return an `ask`; during the merge of round 0 one site answers its peers by another function."""

    def spoil(ask: Any, requests: Mapping[str, Request]) -> Mapping[str, Answer]:
        request, peer = next(iter(requests.values())), spoiled.sites[site]
        if (request.action, request.round) in [("merge", 0), ("commit", 0)]:
            peer.receive = lambda sender, message: receive(peer, sender, message)  # type: ignore[method-assign]
        else:
            peer.__dict__.pop("receive", None)
        return ask(requests)

    spoiled = Spoiled(folder, spoil)
    return spoiled


KEYS = {site: SigningKey.create() for site in SITES}


def drawn(
    *,
    number: int = 0,
    experiment: str = "x",
    sites: Sequence[str] = SITES,
    roster: Sequence[str] = SITES,
    head: str = "0" * 64,
    keys: Mapping[str, SigningKey] = KEYS,
) -> MergeTurn:
    """Return a turn as these sites draw it, all of one layout."""
    roll = Roll(round=number, roster=tuple(roster), sites=tuple(sites))
    nonces = {site: keys[site].nonce(roll, experiment=experiment) for site in sites}
    commitments = {}
    for site in sites:
        digest = hashlib.sha256(nonces[site].encode()).hexdigest()
        fields = {"layout": "l", "architecture": "net", "images": 1, "key": keys[site].public, "head": head}
        unsigned = Commitment(**fields, digest=digest, signature="0" * 128)  # type: ignore[arg-type]
        message = roll.signed_by(site, unsigned, experiment=experiment)
        commitments[site] = replace(unsigned, signature=keys[site].sign(message))
    return MergeTurn.of(roll, commitments, nonces)


def turns_of(asked: Sequence[Request]) -> list[MergeTurn]:
    """Return the turns in which a leader was told to merge."""
    return [r.lesson for r in asked if r.action == "merge" and isinstance(r.lesson, MergeTurn)]


def stop_at(action: str, number: int, *, site: str | None = None) -> Callable[[Request, Answer], None]:
    """Return an `on_answer` that kills the run when a request has been answered, by one site or the first."""

    def on_answer(request: Request, answer: Answer) -> None:
        if (request.action, request.round) == (action, number) and site in (None, answer.site):
            raise KeyboardInterrupt

    return on_answer


def kept_turn(folder: Path) -> MergeTurn:
    """Return the turn of the merge that the sites keep."""
    (path,) = (folder / "sites" / SITES[0]).glob("*/merge.npz")
    kept = load_kept(path, experiment=read_run(folder)[0].id)
    assert kept is not None
    return kept.turn


QUIET: dict[tuple[Path, int], list[dict[str, Any]]] = {}  # the numbers of runs without a fault


def uninterrupted(folder: Path, federation: Path, *, like: Results) -> list[dict[str, Any]]:
    """Return the numbers of the same run without a fault, led by the leaders of another: who leads does not matter."""
    rounds = like.experiment.rounds
    if (federation, rounds) not in QUIET:
        experiment, results = start(folder / "quiet", federation, rounds=rounds)
        run_in_process(folder / "quiet", experiment=experiment)
        QUIET[federation, rounds] = numbers_of(results.rows())
    led = {(row["round"], row["site"]): row["about"]["merged_by"] for row in like.rows()}
    return [
        {**row, "about": {**row["about"], "merged_by": led[row["round"], row["site"]]}}
        for row in QUIET[federation, rounds]
    ]
