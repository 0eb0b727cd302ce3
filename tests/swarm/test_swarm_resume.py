"""A swarm killed at any instant goes on to the same numbers, or says who was not merged."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from fakes.simulated import numbers_of
from fakes.swarms import SITES, Spoiled, kept_turn, ledgers_of, start, stop_at, uninterrupted

from mdhfl.rounds.loop import TooFewSites, federate
from mdhfl.runs.inprocess import InProcessPeers, run_in_process
from mdhfl.sharing.messages import Answer, Request
from mdhfl.site.round import SiteRound

REQUESTS = 3 + 3 * (3 + 3 + 1 + 3) + 3  # warm-up; three merges, each with the round that begins with it; the end
MESSAGES = 3 * 4  # between sites: two shares and two results a merge


class Killed(KeyboardInterrupt):
    """Everything dies."""


def check_whole(folder: Path, federation: Path, results: Any) -> None:
    """All rows are those of an uninterrupted run, every merge reached everybody, and the ledgers are one."""
    assert numbers_of(results.rows()) == uninterrupted(folder, federation, like=results)
    assert all(row["about"]["merged_by"] for row in results.rows() if row["round"])
    ledgers = list(ledgers_of(folder / "run").values())
    assert ledgers[0] == ledgers[1] == ledgers[2]
    assert [entry.turn.round for entry in ledgers[0].entries] == [0, 1, 2]


@pytest.mark.parametrize(
    "number", [n if n in (21, 30) else pytest.param(n, marks=pytest.mark.slow) for n in range(REQUESTS)]
)
def test_a_run_killed_after_any_answer_goes_on_to_the_same_numbers(
    tmp_path: Path, three_sites: Path, number: int
) -> None:
    experiment, results = start(tmp_path / "run", three_sites)
    answered = iter(range(number + 1))

    def die(request: Request, answer: Answer) -> None:
        if next(answered) == number:
            raise Killed

    with pytest.raises(Killed):
        run_in_process(tmp_path / "run", experiment=experiment, on_answer=die)
    assert run_in_process(tmp_path / "run", experiment=experiment)["status"] == "finished"
    check_whole(tmp_path, three_sites, results)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("number", [n if n == 6 else pytest.param(n, marks=pytest.mark.slow) for n in range(MESSAGES)])
def test_a_run_killed_around_any_message_between_sites_goes_on_to_the_same_numbers(
    tmp_path: Path, three_sites: Path, monkeypatch: pytest.MonkeyPatch, number: int, when: str
) -> None:
    experiment, results = start(tmp_path / "run", three_sites)
    sent, real = iter(range(number + 1)), InProcessPeers.send

    def die(peers: InProcessPeers, site: str, message: Mapping[str, Any]) -> Mapping[str, Any]:
        due = next(sent) == number
        if due and when == "before":
            raise Killed
        reply = real(peers, site, message)
        if due:
            raise Killed
        return reply

    with monkeypatch.context() as patched:
        patched.setattr(InProcessPeers, "send", die)
        with pytest.raises(Killed):
            run_in_process(tmp_path / "run", experiment=experiment)
    assert run_in_process(tmp_path / "run", experiment=experiment)["status"] == "finished"
    check_whole(tmp_path, three_sites, results)


@pytest.mark.parametrize("first", [0, 1, 2])
def test_a_crash_in_the_middle_of_a_sites_round_can_be_resumed(
    tmp_path: Path, three_sites: Path, monkeypatch: pytest.MonkeyPatch, first: int
) -> None:
    """The site has taken the merged model and not yet saved its round; `first` sites have learned before it."""
    experiment, results = start(tmp_path / "run", three_sites)
    real = SiteRound._train

    def crash(site: SiteRound, **arguments: Any) -> float | None:
        if (site.request.round, site.site) == (2, SITES[first]):
            raise Killed
        return real(site, **arguments)

    with monkeypatch.context() as patched:
        patched.setattr(SiteRound, "_train", crash)
        with pytest.raises(Killed):
            run_in_process(tmp_path / "run", experiment=experiment)
    assert run_in_process(tmp_path / "run", experiment=experiment)["status"] == "finished"
    check_whole(tmp_path, three_sites, results)


def test_a_site_that_the_last_merge_did_not_reach_is_named_before_the_end(tmp_path: Path, three_sites: Path) -> None:
    """It is cut off while the others merge; and its file of the merge is lost with its disk."""
    experiment, results = start(tmp_path / "run", three_sites, min_sites=3)
    with pytest.raises(KeyboardInterrupt):
        run_in_process(tmp_path / "run", experiment=experiment, on_answer=stop_at("adopt", 3, site="site-1"))
    for path in (tmp_path / "run" / "sites" / "site-2").glob("*/merge.npz"):
        path.unlink()
    with pytest.raises(TooFewSites, match=r"round 3: .*site 'site-2': the last merge did not reach"):
        run_in_process(tmp_path / "run", experiment=experiment)
    assert {row["round"] for row in results.rows()} == {0, 1, 2}


def test_with_sites_to_spare_the_end_names_who_was_not_merged(tmp_path: Path, three_sites: Path) -> None:
    experiment, results = start(tmp_path / "run", three_sites, min_sites=2)

    def spoil(ask: Any, requests: Mapping[str, Request]) -> Mapping[str, Answer]:
        request = next(iter(requests.values()))
        if (request.action, request.round) in [("commit", 2), ("reveal", 2), ("merge", 2)]:
            spoiled.sites["site-2"].receive = lambda *_: {"refusal": "no line"}  # type: ignore[method-assign]
            requests = {site: asked for site, asked in requests.items() if site != "site-2"}
        return ask(requests)

    spoiled = Spoiled(tmp_path / "run", spoil)
    federate(experiment, ask=spoiled, record=results.record)
    rows = {row["site"]: row for row in results.rows() if row["round"] == 3}
    assert rows["site-2"]["status"] == "refused"
    assert "the last merge did not reach it" in rows["site-2"]["reason"]
    assert rows["site-1"]["about"]["merged_by"] == rows["site-3"]["about"]["merged_by"] != ""


def test_a_damaged_merge_is_named(tmp_path: Path, three_sites: Path) -> None:
    experiment, _ = start(tmp_path / "run", three_sites, min_sites=3)
    with pytest.raises(KeyboardInterrupt):
        run_in_process(tmp_path / "run", experiment=experiment, on_answer=stop_at("merge", 1))
    assert kept_turn(tmp_path / "run").round == 1
    (path,) = (tmp_path / "run" / "sites" / "site-2").glob("*/merge.npz")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(TooFewSites, match=r"site 'site-2': its state could not be read"):
        run_in_process(tmp_path / "run", experiment=experiment)
    assert (
        f"{path}: damaged (its checksum does not fit). Delete it"
        in (tmp_path / "run" / "sites" / "site-2" / "site.log").read_text()
    )
