"""The leader is drawn by the members: what a server, or a member, might do to choose it is refused."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes.simulated import log_of
from fakes.swarms import SITES, Spoiled, drawn, start, turns_of

from mdhfl.files import StateError
from mdhfl.methods.swarm_method import NoLeader
from mdhfl.rounds.loop import federate
from mdhfl.runs.inprocess import open_sites, run_in_process
from mdhfl.sharing.lots import Lot
from mdhfl.sharing.messages import Action, Answer, Request
from mdhfl.sharing.records import Lesson
from mdhfl.sharing.turns import Commitment, MergeTurn, Roll
from mdhfl.swarm import openings

FIVE = tuple(f"site-{i}" for i in range(1, 6))


class Warm:
    """Three sites that have finished round 0, and a server that may ask them anything."""

    def __init__(self, folder: Path, federation: Path) -> None:
        self.folder = folder
        self.experiment, _ = start(folder, federation, rounds=1)

        def stop(request: Request, answer: Answer) -> None:
            if request.action == "commit":
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            run_in_process(folder, experiment=self.experiment, on_answer=stop)
        self.restart()

    def restart(self) -> None:
        self.sites = open_sites(self.folder, names=SITES)

    def ask(self, site: str, action: Action, lesson: Lesson) -> Answer:
        request = self.experiment.request(action, number=0, lesson=lesson)
        return self.sites[site].answer(Request.from_wire(request.to_wire()))

    def why_not(self, site: str, action: Action, lesson: Lesson) -> str:
        """Return what a site's log says of its refusal."""
        return log_of(self.folder, self.ask(site, action, lesson).refusal, site)

    def roll(self, *sites: str) -> Roll:
        return Roll(round=0, roster=SITES, sites=sites or SITES)

    def commitments(self, roll: Roll) -> dict[str, Commitment]:
        lots = {site: self.ask(site, "commit", roll) for site in roll.sites}
        assert not any(answer.refusal for answer in lots.values()), lots
        return {site: lot_of(answer).commitment for site, answer in lots.items()}  # type: ignore[misc]

    def draw(self, roll: Roll) -> MergeTurn:
        opened = MergeTurn.of(roll, self.commitments(roll), {})
        return MergeTurn.of(
            roll, opened.commitments, {site: lot_of(self.ask(site, "reveal", opened)).nonce for site in roll.sites}
        )


def lot_of(answer: Answer) -> Lot:
    assert not answer.refusal, answer.refusal
    assert isinstance(answer.shared, Lot)
    return Lot.from_wire(answer.shared.to_wire(), site=answer.site, round=answer.round)


@pytest.fixture
def warm(tmp_path: Path, three_sites: Path) -> Warm:
    return Warm(tmp_path / "run", three_sites)


def test_everybody_leads_now_and_then() -> None:
    leaders = [drawn(number=number).leader for number in range(60)]
    assert min(leaders.count(site) for site in SITES) > 8


def test_nobody_knows_the_leader_before_the_last_number_is_revealed() -> None:
    """With the other numbers known, the last one still decides: any site may lead."""
    turn = drawn()
    possible = {
        MergeTurn.of(turn.roll, turn.commitments, {**turn.nonces, "site-3": f"{guess:064x}"}).leader
        for guess in range(40)
    }
    assert possible == set(SITES)


def test_a_repeated_draw_has_the_same_leader(warm: Warm) -> None:
    """Also after a restart: asking again and again does not help."""
    first = warm.draw(warm.roll())
    assert warm.draw(warm.roll()) == first
    warm.restart()
    assert warm.draw(warm.roll()) == first


def test_no_number_is_revealed_before_all_have_committed(warm: Warm) -> None:
    roll = warm.roll()
    commitments = warm.commitments(roll)
    numbers = {s: warm.sites[s]._work.swarm.key.nonce(roll, experiment=warm.experiment.id) for s in SITES}  # type: ignore[union-attr]
    assert not {n for n in numbers.values() if any(n in str(c) for c in commitments.values())}
    assert {c.digest for c in commitments.values()} == {
        hashlib.sha256(number.encode()).hexdigest() for number in numbers.values()
    }


def test_a_server_cannot_leave_out_a_site_that_is_there(warm: Warm) -> None:
    why = warm.why_not("site-1", "commit", warm.roll("site-1", "site-2"))
    assert "the server leaves out 'site-3', which has finished round 0 and can be reached" in why


@pytest.mark.parametrize("reply", [{"refusal": "no line"}, {"present": np.ones(3, dtype=np.float32)}, {}], ids=str)
def test_a_site_that_cannot_say_that_it_is_there_stops_nobody(warm: Warm, reply: dict[str, Any]) -> None:
    warm.sites["site-3"].receive = lambda *_: reply  # type: ignore[method-assign]
    assert lot_of(warm.ask("site-1", "commit", warm.roll("site-1", "site-2"))).commitment is not None


@pytest.mark.parametrize("sites", [("site-1",), ("site-2", "site-3")])
def test_a_few_do_not_merge_among_themselves(warm: Warm, sites: tuple[str, ...]) -> None:
    roll = Roll(round=0, roster=FIVE, sites=sites)
    why = warm.why_not(sites[0], "commit", roll)
    assert f"expected at least 3 of 5 sites to merge, got {len(sites)}" in why


@pytest.mark.parametrize("action", ["commit", "reveal", "merge"])
def test_a_server_cannot_make_up_the_answer_of_a_member(warm: Warm, action: Action) -> None:
    """Its own number, key, weight or layout for a member, before or after the others have revealed theirs."""
    turn = warm.draw(warm.roll())
    if action == "commit":
        assert "expected a roll to commit to" in warm.why_not("site-1", "commit", turn)
        return
    for change in ({"images": 10**6}, {"layout": "m"}, {"digest": "0" * 64}, {"head": "1" * 64}):
        forged = {**turn.commitments, "site-2": replace(turn.commitments["site-2"], **change)}
        leader = MergeTurn.of(turn.roll, forged, turn.nonces).leader
        asked = leader if action == "merge" else "site-1"
        why = warm.why_not(asked, action, MergeTurn.of(turn.roll, forged, turn.nonces))
        assert any(said in why for said in ("not signed with its key", "not taken part in this draw", "another model"))


def test_there_is_one_draw_for_a_set_of_members(warm: Warm) -> None:
    """An accomplice commits to another number when it knows the others': nobody reveals a second time."""
    turn = warm.draw(warm.roll())
    key = warm.sites["site-2"]._work.swarm.key  # type: ignore[union-attr]
    other = replace(turn.commitments["site-2"], digest=hashlib.sha256(b"another").hexdigest())
    other = replace(other, signature=key.sign(turn.roll.signed_by("site-2", other, experiment=warm.experiment.id)))
    opened = MergeTurn.of(turn.roll, {**turn.commitments, "site-2": other}, {})
    assert "these members have drawn before, with other commitments" in warm.why_not("site-1", "reveal", opened)
    warm.restart()
    assert "these members have drawn before, with other commitments" in warm.why_not("site-1", "reveal", opened)


def test_a_turn_that_a_site_has_not_drawn_in_gets_no_weights(warm: Warm) -> None:
    """A turn that is whole and signed, and that the server has kept back from a member until now."""
    opened = MergeTurn.of(warm.roll(), warm.commitments(warm.roll()), {})
    numbers = {s: warm.sites[s]._work.swarm.key.nonce(opened.roll, experiment=warm.experiment.id) for s in SITES}  # type: ignore[union-attr]
    turn = MergeTurn.of(opened.roll, opened.commitments, numbers)
    member = turn.order[1]
    request = warm.experiment.request("merge", number=0, lesson=turn).to_wire()
    reply = warm.sites[member].receive(turn.leader, {"ask": "share", "length": 0, "request": request})
    why = log_of(warm.folder, reply["refusal"], member)
    assert "has not taken part in this draw of round 0; a server must not choose the leader" in why


def test_draws_of_one_round_come_to_an_end(warm: Warm) -> None:
    """Whoever cuts off one site after the other gets as many draws as there are sites, and no more."""
    for peer in ("site-2", "site-3"):
        warm.sites[peer].receive = lambda *_: {"refusal": "no line"}  # type: ignore[method-assign]
    warm.draw(warm.roll())
    warm.draw(warm.roll("site-1", "site-2"))
    warm.draw(warm.roll("site-1", "site-3"))
    (path,) = (warm.folder / "sites" / "site-1").glob("*/draws.json")
    text = path.read_text()
    assert len(json.loads(text)["openings"]) == 3
    path.write_text(text.replace("site-3", "site-9"))
    why = warm.why_not("site-1", "reveal", MergeTurn.of(warm.roll(), warm.commitments(warm.roll()), {}))
    assert f"3 draws have failed, and there are no more for one round. Mend the sites, delete {path}" in why


def test_a_server_cannot_change_who_is_in_the_experiment(tmp_path: Path, three_sites: Path) -> None:
    experiment, _ = start(tmp_path / "run", three_sites, rounds=1)
    run_in_process(tmp_path / "run", experiment=experiment)
    sites = open_sites(tmp_path / "run", names=SITES)
    roll = Roll(round=2, roster=FIVE, sites=FIVE)
    refusal = sites["site-1"].answer(experiment.request("commit", number=2, lesson=roll)).refusal
    why = log_of(tmp_path / "run", refusal)
    assert "expected the experiment's sites site-1, site-2, site-3, got site-1, site-2, site-3, site-4" in why


def refusing(change: Any) -> Any:
    """Return a spoil: site-2's lots of round 1 are changed on the way."""

    def spoil(ask: Any, requests: Mapping[str, Request]) -> Mapping[str, Answer]:
        request, answers = next(iter(requests.values())), dict(ask(requests))
        if request.round == 1 and request.action in ("commit", "reveal") and "site-2" in answers:
            answers["site-2"] = change(request.action, answers["site-2"])
        return answers

    return spoil


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda action, a: replace(a, shared=None), "sent no lot"),
        (lambda action, a: a if action == "commit" else replace(a, shared=replace(a.shared, nonce="ab" * 32)),
         "did not reveal the number that it committed to"),
        (lambda action, a: a if action == "reveal" else _resigned(a), "its commitment is not signed with its key"),
    ],
)  # fmt: skip
def test_a_member_that_spoils_the_draw_is_named(tmp_path: Path, three_sites: Path, change: Any, said: str) -> None:
    """It is there and can be reached, so the others do not merge without it: the run stops, and says whose fault."""
    experiment, results = start(tmp_path / "run", three_sites)
    with pytest.raises(NoLeader, match=rf"site-2: {said}"):
        federate(experiment, ask=(spoiled := Spoiled(tmp_path / "run", refusing(change))), record=results.record)
    spoiled.close()
    assert run_in_process(tmp_path / "run", experiment=experiment)["status"] == "finished"


def test_a_site_whose_disk_is_full_is_left_out(
    tmp_path: Path, three_sites: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It cannot note which draws it takes part in: it says that it is out, to the server and to the others."""
    experiment, results = start(tmp_path / "run", three_sites)
    real = openings.allow

    def full(turn: MergeTurn, *, path: Path) -> None:
        if turn.round == 1 and "site-2" in path.parts:
            raise StateError(f"{path}: cannot be written (disk full)")
        real(turn, path=path)

    monkeypatch.setattr(openings, "allow", full)
    federate(experiment, ask=Spoiled(tmp_path / "run", lambda ask, requests: ask(requests)), record=results.record)
    rows = {(row["round"], row["site"]): row["about"]["merged_by"] for row in results.rows()}
    assert rows[2, "site-2"] == ""
    assert rows[2, "site-1"] == rows[2, "site-3"] != ""
    assert rows[3, "site-2"] != ""


def _resigned(answer: Answer) -> Answer:
    lot = answer.shared
    if not isinstance(lot, Lot) or lot.commitment is None:
        return answer
    return replace(answer, shared=replace(lot, commitment=replace(lot.commitment, signature="ab" * 64)))


def test_a_lost_answer_of_the_leader_is_asked_for_again(tmp_path: Path, three_sites: Path) -> None:
    """It has merged, and all keep the result: nobody merges a second time."""
    experiment, results = start(tmp_path / "run", three_sites)
    lost = []

    def spoil(ask: Any, requests: Mapping[str, Request]) -> Mapping[str, Answer]:
        request, answers = next(iter(requests.values())), ask(requests)
        if (request.action, request.round) == ("merge", 1) and not lost:
            lost.append(request)
            return {}
        return answers

    ask = Spoiled(tmp_path / "run", spoil)
    federate(experiment, ask=ask, record=results.record)
    assert [turn.round for turn in turns_of(ask.asked)] == [0, 1, 2]
    assert all(row["about"]["merged_by"] for row in results.rows() if row["round"])


def test_turns_travel_whole() -> None:
    turn = drawn()
    assert MergeTurn.from_wire(turn.to_wire()) == turn
