"""A swarm on real (small) federations, in one process: who leads, what is merged, and what goes wrong."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes.simulated import changes_for, numbers_of, run
from fakes.swarms import (
    SITES,
    Spoiled,
    kept_turn,
    ledger_path,
    ledgers_of,
    start,
    stop_at,
    turns_of,
    uninterrupted,
    with_a_spoiled_peer,
    without_swarm,
)

from mdhfl.methods.swarm_method import NoLeader
from mdhfl.rounds.loop import federate
from mdhfl.runs.inprocess import open_sites, run_in_process
from mdhfl.sharing.messages import Answer, Request
from mdhfl.sharing.turns import Roll
from mdhfl.site.site import Site


def test_a_swarm_is_fedavg_without_a_server(tmp_path: Path, three_sites: Path) -> None:
    fedavg, _ = run(tmp_path / "fedavg", three_sites, "fedavg", rounds=2)
    swarm, exchanges = run(tmp_path / "swarm", three_sites, "sl_fedl", rounds=2)
    assert without_swarm(swarm) == fedavg  # bit for bit
    shared = {answer.shared.kind for _, answer in exchanges if answer.shared is not None}
    assert shared == {"lot"}  # no weights to the server
    leaders = [turn.leader for turn in turns_of([request for request, _ in exchanges])]
    assert len(leaders) == 3
    ledgers = list(ledgers_of(tmp_path / "swarm").values())
    assert ledgers[0] == ledgers[1] == ledgers[2]
    assert [e.turn.leader for e in ledgers[0].entries] == leaders
    assert all(set(e.shares) == set(SITES) for e in ledgers[0].entries)
    last = [row for row in swarm if row["round"] == 2]
    assert {row["about"]["merged_by"] for row in last} == {leaders[1]}


def test_sites_of_different_architectures_merge_within_them(tmp_path: Path, three_sites: Path) -> None:
    how: dict[str, Any] = {
        "rounds": 1,
        "bundles": ("shufflenet_v2", "mobilenet_v2", "shufflenet_v2"),
        "changes": changes_for("x", grouped=True),
    }
    fedavg, _ = run(tmp_path / "fedavg", three_sites, "fedavg", **how)
    swarm, _ = run(tmp_path / "swarm", three_sites, "sl_fedl", **how)
    assert without_swarm(swarm) == fedavg
    merge = ledgers_of(tmp_path / "swarm")["site-1"].entries[-1]
    assert set(merge.shares) == {"site-1", "site-3"}  # alone in its architecture: it sends nothing


class Fault:
    """An `ask` in which a site dies when it gets a request about round 1, and comes back when the next round begins.

    Attributes:
        dead: who: of those asked to merge the leader, else site-2; empty while nobody is.
        died: whoever it was.
    """

    def __init__(self, folder: Path, *, action: str, after: bool) -> None:
        self.spoiled = Spoiled(folder, self._spoil)
        self.action, self.after, self.dead, self.died = action, after, "", ""

    def _spoil(self, ask: Any, requests: Mapping[str, Request]) -> Mapping[str, Answer]:
        request = next(iter(requests.values()))
        if (request.action, request.round) == (self.action, 1) and not self.died:
            self.dead = self.died = next(iter(requests)) if len(requests) == 1 else "site-2"
            if self.after:
                ask({self.dead: request})
            self.spoiled.sites[self.dead].receive = lambda *_: {"refusal": "the line is dead"}  # type: ignore[method-assign]
        if request.action == "learn":
            self.spoiled.sites[self.died or "site-1"].__dict__.pop("receive", None)
            self.dead = ""
        return ask({site: asked for site, asked in requests.items() if site != self.dead})


@pytest.mark.parametrize(("action", "after"), [("merge", False), ("merge", True), ("commit", False), ("reveal", False)])
def test_a_site_that_dies_in_a_merge_is_left_out_and_another_leads(
    tmp_path: Path, three_sites: Path, action: str, after: bool
) -> None:
    """A leader before it merges, and after it has sent the merge to all; a member that commits or reveals nothing."""
    experiment, results = start(tmp_path / "run", three_sites)
    fault = Fault(tmp_path / "run", action=action, after=after)
    federate(experiment, ask=fault.spoiled, record=results.record)
    dead = fault.died
    entries = ledgers_of(tmp_path / "run")[dead].entries
    assert [entry.turn.round for entry in entries] == [0, 1, 2]
    assert set(entries[1].shares) == set(SITES) - {dead}
    rows = {(row["round"], row["site"]): row["about"]["merged_by"] for row in results.rows()}
    assert rows[2, dead] == ""
    assert {rows[2, site] for site in SITES if site != dead} == {entries[1].turn.leader} != {dead}
    assert rows[3, dead] == entries[2].turn.leader  # it is merged again


def test_no_leader_left_stops_the_run_and_it_can_be_resumed(tmp_path: Path, three_sites: Path) -> None:
    experiment, results = start(tmp_path / "run", three_sites)

    def spoil(ask: Any, requests: Mapping[str, Request]) -> Mapping[str, Answer]:
        request = next(iter(requests.values()))
        return {} if (request.action, request.round) == ("merge", 1) else ask(requests)

    with pytest.raises(NoLeader, match=r"round 1: expected one of 3 sites to merge the models, none could \(site-"):
        federate(experiment, ask=(spoiled := Spoiled(tmp_path / "run", spoil)), record=results.record)
    spoiled.close()
    run_in_process(tmp_path / "run", experiment=experiment)
    assert numbers_of(results.rows()) == uninterrupted(tmp_path, three_sites, like=results)


def test_a_member_that_cannot_be_reached_is_left_out_and_comes_back(tmp_path: Path, three_sites: Path) -> None:
    experiment, results = start(tmp_path / "run", three_sites)
    ask = with_a_spoiled_peer(tmp_path / "run", "site-2", lambda site, sender, message: {"refusal": "no line"})
    federate(experiment, ask=ask, record=results.record)
    rows = {(row["round"], row["site"]): row for row in results.rows()}
    ledgers = list(ledgers_of(tmp_path / "run").values())
    assert ledgers[0] == ledgers[1] == ledgers[2]  # it caught up
    first = ledgers[0].entries[0]
    if first.turn.leader == "site-2":  # who hears nobody may still ask: then everybody is in
        assert rows[1, "site-2"]["about"]["merged_by"] == "site-2"
        return
    assert set(first.shares) == {"site-1", "site-3"}
    assert rows[1, "site-2"]["status"] == "ok"
    assert rows[1, "site-2"]["about"]["merged_by"] == ""  # it went on with its own model, and says so
    assert rows[2, "site-2"]["about"]["merged_by"] != ""


def test_a_tampered_ledger_is_named_and_refused(tmp_path: Path, three_sites: Path) -> None:
    experiment, results = start(tmp_path / "run", three_sites, rounds=1)
    run_in_process(tmp_path / "run", experiment=experiment)
    path = ledger_path(tmp_path / "run", SITES[1])
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[1]["shares"][SITES[0]] = "00" * 32
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    sites = open_sites(tmp_path / "run", names=SITES)
    roll = Roll(round=2, roster=SITES, sites=SITES)
    answer = sites[SITES[1]].answer(experiment.request("commit", number=2, lesson=roll))
    assert "its ledger of merges was tampered with" in answer.refusal
    log = (tmp_path / "run" / "sites" / SITES[1] / "site.log").read_text()
    assert f"{path}, line 2: entry 1 (round 1, led by" in log
    assert "not signed by its leader: tampered with" in log
    assert sites[SITES[0]].answer(experiment.request("commit", number=2, lesson=roll)).shared is not None
    assert results.rows()


def test_only_the_drawn_leader_may_ask_for_weights(tmp_path: Path, three_sites: Path) -> None:
    experiment, _ = start(tmp_path / "run", three_sites, rounds=1)
    with pytest.raises(KeyboardInterrupt):
        run_in_process(tmp_path / "run", experiment=experiment, on_answer=stop_at("merge", 0))
    turn = kept_turn(tmp_path / "run")
    sites, (leader, other, third) = open_sites(tmp_path / "run", names=SITES), turn.order
    request = experiment.request("merge", number=0, lesson=turn).to_wire()
    message = {"ask": "share", "length": 0, "request": request}
    reply = sites[other].receive(third, message)
    assert set(reply) == {"refusal"}
    log = tmp_path / "run" / "sites" / other / "site.log"
    assert f"expected 'share' from '{leader}', got it from '{third}'" in log.read_text()
    assert np.ndim(sites[other].receive(leader, message)["result"]) == 1
    assert set(sites[other].receive(leader, {**message, "ask": "everything"})) == {"refusal"}
    assert "expected one of share" in log.read_text()


def test_a_share_of_another_length_is_left_out_by_name(tmp_path: Path, three_sites: Path) -> None:
    experiment, results = start(tmp_path / "run", three_sites, rounds=1)

    def shortened(site: Site, sender: str, message: Mapping[str, Any]) -> dict[str, Any]:
        reply = Site.receive(site, sender, message)
        return {**reply, "result": reply["result"][:-1]} if "result" in reply else reply

    federate(experiment, ask=with_a_spoiled_peer(tmp_path / "run", "site-2", shortened), record=results.record)
    entries = ledgers_of(tmp_path / "run")["site-2"].entries
    assert ("site-2" in entries[0].shares) == (entries[0].turn.leader == "site-2")
    assert set(entries[1].shares) == set(SITES)  # and it is merged again


@pytest.mark.parametrize(
    "absurd",
    [
        {"entries": "all"}, {"entries": [{}]}, {"entries": [[[]]]}, {"length": "9"}, {"length": 10**30},
        {"length": float("nan")}, {"length": -5}, {"result": np.zeros((3, 3), dtype=np.float32)}, {"result": "none"},
        {"result": np.full(147, np.nan, dtype=np.float32)}, {"result": np.zeros(147, dtype=np.float64)},
    ],
    ids=str,
)  # fmt: skip
def test_an_absurd_reply_of_a_member_does_not_stop_the_others(
    tmp_path: Path, three_sites: Path, absurd: dict[str, Any]
) -> None:
    experiment, results = start(tmp_path / "run", three_sites, rounds=1)

    def spoiled(site: Site, sender: str, message: Mapping[str, Any]) -> dict[str, Any]:
        reply = Site.receive(site, sender, message)
        return {**reply, **absurd} if message["ask"] == "share" else reply

    federate(experiment, ask=with_a_spoiled_peer(tmp_path / "run", "site-2", spoiled), record=results.record)
    entries = ledgers_of(tmp_path / "run")["site-1"].entries
    assert {"site-1", "site-3"} <= set(entries[0].shares)
    assert set(entries[1].shares) == set(SITES)
