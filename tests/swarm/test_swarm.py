"""A swarm on real (small) federations, in one process: who leads, what is merged, and what goes wrong."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes.simulated import changes_for, model_of, numbers_of, run
from fakes.swarms import (
    SITES,
    Spoiled,
    drawn,
    ledger_path,
    ledgers_of,
    start,
    turns_of,
    with_a_spoiled_peer,
    without_swarm,
)

from mdhfl.methods.swarm_method import NoLeader
from mdhfl.rounds.loop import federate
from mdhfl.runs.folder import read_run
from mdhfl.runs.inprocess import open_sites, run_in_process
from mdhfl.sharing.messages import Answer, Request
from mdhfl.sharing.turns import MergeTurn
from mdhfl.site.round import SiteRound
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


def test_a_leader_that_dies_is_followed_by_the_next(tmp_path: Path, three_sites: Path) -> None:
    """It dies after it has sent the merge to everybody: the worst moment. The second leader's merge counts."""
    experiment, results = start(tmp_path, three_sites)
    dead = elect(SITES, experiment=experiment.id, number=1)[0]

    def spoil(ask: Any, requests: Mapping[str, Request]) -> Mapping[str, Answer]:
        answers = ask(requests)
        request = next(iter(requests.values()))
        return {} if (request.action, request.round, set(requests)) == ("merge", 1, {dead}) else answers

    ask = Spoiled(tmp_path, spoil)
    federate(experiment, ask=ask, record=results.record)
    merges = [request.lesson for request in ask.asked if request.action == "merge"]
    assert [(turn.round, turn.attempt) for turn in merges] == [(0, 0), (1, 0), (1, 1), (2, 0)]  # type: ignore[union-attr]
    entries = [e for e in ledgers_of(tmp_path)[SITES[0]].entries if e.kind == "merge"]
    assert [(e.content["round"], e.content["attempt"]) for e in entries] == [(0, 0), (1, 1), (2, 0)]
    whole, _ = run(tmp_path / "quiet", three_sites, "fedavg", rounds=2)
    assert without_swarm(numbers_of(results.rows())) == whole  # who led does not matter


def test_no_leader_left_stops_the_run_and_it_can_be_resumed(tmp_path: Path, three_sites: Path) -> None:
    experiment, results = start(tmp_path, three_sites)

    def spoil(ask: Any, requests: Mapping[str, Request]) -> Mapping[str, Answer]:
        request = next(iter(requests.values()))
        return {} if (request.action, request.round) == ("merge", 1) else ask(requests)

    with pytest.raises(NoLeader, match=r"round 1: expected one of 3 sites to merge the models, all failed"):
        federate(experiment, ask=Spoiled(tmp_path, spoil), record=results.record)
    run_in_process(tmp_path, experiment=experiment)
    whole, _ = run(tmp_path / "quiet", three_sites, "fedavg", rounds=2)
    assert without_swarm(numbers_of(results.rows())) == whole


def test_a_member_that_cannot_be_reached_is_left_out_and_comes_back(tmp_path: Path, three_sites: Path) -> None:
    experiment, results = start(tmp_path, three_sites)
    gone = elect(SITES, experiment=experiment.id, number=0)[1]
    ask = with_a_spoiled_peer(tmp_path, gone, lambda site, sender, message: {"refusal": "the line is dead"})
    federate(experiment, ask=ask, record=results.record)
    rows = {(row["round"], row["site"]): row for row in results.rows()}
    assert rows[1, gone]["status"] == "ok"
    assert rows[1, gone]["about"]["merged_by"] == ""  # it went on with its own model, and says so
    assert rows[2, gone]["about"]["merged_by"] != ""
    ledgers = list(ledgers_of(tmp_path).values())
    assert ledgers[0] == ledgers[1] == ledgers[2]  # and caught up
    merges = [e for e in ledgers[0].entries if e.kind == "merge"]
    assert [gone in e.content["shares"] for e in merges] == [False, True, True]


def test_a_server_that_dies_when_some_sites_have_learned_can_go_on(tmp_path: Path, three_sites: Path) -> None:
    experiment, results = start(tmp_path, three_sites)

    def die(request: Request, answer: Answer) -> None:
        if (request.action, request.round, answer.site) == ("learn", 2, SITES[0]):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_in_process(tmp_path, experiment=experiment, on_answer=die)
    summary = run_in_process(tmp_path, experiment=experiment)
    assert summary["status"] == "finished"
    last = {row["site"]: row for row in results.rows() if row["round"] == 3}
    assert all(row["about"]["merged_by"] for row in last.values())


@pytest.mark.parametrize("first", [0, 1, 2])
def test_a_crash_in_the_middle_of_a_sites_round_can_be_resumed(
    tmp_path: Path, three_sites: Path, monkeypatch: pytest.MonkeyPatch, first: int
) -> None:
    """The site has taken the merged model and not yet saved its round; `first` sites have learned before it."""
    experiment, results = start(tmp_path, three_sites)
    real = SiteRound._train

    def crash(site: SiteRound, **arguments: Any) -> float | None:
        if (site.request.round, site.site) == (2, SITES[first]):
            raise KeyboardInterrupt
        return real(site, **arguments)

    with monkeypatch.context() as patched:
        patched.setattr(SiteRound, "_train", crash)
        with pytest.raises(KeyboardInterrupt):
            run_in_process(tmp_path, experiment=experiment)
    assert run_in_process(tmp_path, experiment=experiment)["status"] == "finished"
    ledgers = list(ledgers_of(tmp_path).values())
    assert ledgers[0] == ledgers[1] == ledgers[2]
    if first == 0:  # nobody was ahead: the round is the one of an uninterrupted run
        whole, _ = run(tmp_path / "quiet", three_sites, "fedavg", rounds=2)
        assert without_swarm(numbers_of(results.rows())) == whole


def test_a_tampered_ledger_is_named_and_refused(tmp_path: Path, three_sites: Path) -> None:
    experiment, _ = start(tmp_path, three_sites, rounds=1)
    run_in_process(tmp_path, experiment=experiment)
    path = ledger_path(tmp_path, SITES[1])
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[3]["content"]["shares"][SITES[0]] = "00"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    sites = open_sites(tmp_path, names=SITES)
    members = {site: member_of(tmp_path, site) for site in SITES}
    order = elect(SITES, experiment=experiment.id, number=2)
    turn = MergeTurn(round=2, attempt=order.index(SITES[1]), leader=SITES[1], members=members)
    answer = sites[SITES[1]].answer(experiment.request("merge", number=2, lesson=turn))
    assert str(path) in answer.refusal
    assert "entry 3 (merge" in answer.refusal
    assert "not signed by its leader: tampered with" in answer.refusal


def test_a_server_cannot_choose_the_leader() -> None:
    members = {site: Member(layout="l", images=1) for site in SITES}
    order = elect(SITES, experiment="x", number=4)
    for attempt, leader in enumerate(order):
        check_turn(MergeTurn(round=4, attempt=attempt, leader=leader, members=members), experiment="x", site="site-1")
    wrong = MergeTurn(round=4, attempt=0, leader=order[1], members=members)
    with pytest.raises(ValueError, match=f"expected '{order[0]}' to lead attempt 0 of round 4, got '{order[1]}'"):
        check_turn(wrong, experiment="x", site="site-1")
    with pytest.raises(ValueError, match="expected 'nobody' to lead attempt 9"):
        check_turn(replace(wrong, attempt=9), experiment="x", site="site-1")
    leaders = [elect(SITES, experiment="x", number=r)[0] for r in range(60)]
    assert min(leaders.count(site) for site in SITES) > 5  # everybody leads now and then


def test_only_the_elected_leader_may_ask_for_weights(tmp_path: Path, three_sites: Path) -> None:
    experiment, _ = start(tmp_path, three_sites, rounds=1)
    run_in_process(tmp_path, experiment=experiment)
    sites = open_sites(tmp_path, names=SITES)
    order = elect(SITES, experiment=experiment.id, number=2)
    turn = MergeTurn(round=2, attempt=0, leader=order[0], members={s: member_of(tmp_path, s) for s in SITES})
    request = experiment.request("merge", number=2, lesson=turn).to_wire()
    message = {"ask": "share", "length": 0, "request": request}
    reply = sites[order[1]].receive(order[2], message)
    assert f"expected 'share' from '{order[0]}', got it from '{order[2]}'" in reply["refusal"]
    assert np.ndim(sites[order[1]].receive(order[0], message)["result"]) == 1
    assert "expected one of share" in sites[order[1]].receive(order[0], {**message, "ask": "everything"})["refusal"]
    assert model_of(tmp_path, "site-1")


def test_a_share_of_another_length_is_left_out_by_name(tmp_path: Path, three_sites: Path) -> None:
    experiment, results = start(tmp_path, three_sites, rounds=1)
    order = elect(SITES, experiment=experiment.id, number=0)

    def shortened(site: Site, sender: str, message: Mapping[str, Any]) -> dict[str, Any]:
        reply = Site.receive(site, sender, message)
        return {**reply, "result": reply["result"][:-1]} if "result" in reply else reply

    federate(experiment, ask=with_a_spoiled_peer(tmp_path, order[2], shortened), record=results.record)
    merges = [e for e in ledgers_of(tmp_path)[order[0]].entries if e.kind == "merge"]
    assert set(merges[0].content["shares"]) == {order[0], order[1]}
    assert set(merges[1].content["shares"]) == set(SITES)  # and it is merged again
