"""The watch in the round: who is put aside teaches nobody, still learns, and comes back when the operator says so."""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes.watched import SITES, asking, experiment_of, honest

from mdhfl.methods.fedavg import FedAvg
from mdhfl.methods.mdhfl import Mdhfl
from mdhfl.methods.method import Method
from mdhfl.rounds.loop import federate
from mdhfl.server.decisions import decide, read_decisions
from mdhfl.server.results import Results
from mdhfl.sharing.exchange import Ask, Round
from mdhfl.sharing.messages import Answer, Request
from mdhfl.sharing.teaching import Teaching
from mdhfl.sharing.watch import DOUBTED
from mdhfl.store.sealed import Damaged


def rounds_of(ask: Ask, *, decide: Callable[[], Mapping[str, str]] = dict, **how: Any) -> list[Round]:
    found: list[Round] = []
    federate(experiment_of(**how), ask=ask, record=found.append, decide=decide)
    return found


def lesson_of(finished: Round, site: str) -> Teaching:
    lesson = finished.requests[site].lesson
    assert isinstance(lesson, Teaching)
    return lesson


def test_who_is_put_aside_is_in_no_lesson_and_gets_every_one() -> None:
    rounds = rounds_of(asking(attack="permuted"), watch="put_aside")
    first = rounds[-1].looks["d"].first
    assert first is not None
    assert first <= 2
    for finished in rounds[first + 1 :]:
        assert set(lesson_of(finished, "a").weights) == {"a", "b", "c"}
        assert lesson_of(finished, "d") is lesson_of(finished, "a")
        values = sum(honest(site, finished.number - 1) for site in "abc")
        np.testing.assert_allclose(lesson_of(finished, "a").values, values, atol=1e-5)


def test_who_is_weighed_counts_a_tenth_and_a_site_subtracts_what_it_weighed() -> None:
    rounds = rounds_of(asking(attack="random rows"), watch="weigh")
    assert lesson_of(rounds[-1], "a").weights == {"a": 1.0, "b": 1.0, "c": 1.0, "d": DOUBTED}


@pytest.mark.parametrize("watch", ["off", "tell"])
def test_told_or_not_changes_no_lesson(watch: str) -> None:
    rounds = rounds_of(asking(attack="permuted"), watch=watch)
    assert all(set(lesson_of(each, "a").weights) == set(SITES) for each in rounds[1:])
    assert bool(rounds[-1].looks) == (watch == "tell")


def test_an_honest_federation_learns_the_same_with_every_watch() -> None:
    lessons = [lesson_of(rounds_of(asking(), watch=watch)[-1], "a") for watch in ("off", "tell", "weigh", "put_aside")]
    for lesson in lessons[1:]:
        np.testing.assert_array_equal(lesson.values, lessons[0].values)


def test_the_operator_decides_while_it_runs() -> None:
    decisions: dict[str, str] = {}

    def ask(requests: Mapping[str, Request]) -> Mapping[str, Answer]:
        if next(iter(requests.values())).round == 3:
            decisions.update(d="trusted", a="aside")
        return asking(attack="permuted")(requests)

    rounds = rounds_of(ask, watch="put_aside", decide=lambda: decisions)
    assert set(lesson_of(rounds[3], "a").weights) == {"a", "b", "c"}
    assert set(lesson_of(rounds[4], "a").weights) == {"b", "c", "d"}
    assert rounds[3].looks["d"].reasons
    assert not rounds[3].looks["d"].aside


def test_a_site_that_was_away_comes_back_as_it_was() -> None:
    rounds = rounds_of(asking(attack="permuted", away={3: "d"}), watch="put_aside", rounds=5)
    assert rounds[2].looks["d"].aside
    assert rounds[3].looks["d"].aside
    assert rounds[3].looks["d"].agreement is None
    assert set(lesson_of(rounds[5], "a").weights) == {"a", "b", "c"}


@pytest.mark.parametrize("stop", [1, 2, 3])
def test_a_resume_keeps_the_memory_to_the_last_bit(tmp_path: Path, stop: int) -> None:
    def run(folder: Path, ask: Ask) -> Results:
        experiment = experiment_of(watch="put_aside", rounds=5)
        results = Results(folder, experiment=experiment)
        last = results.resume()
        try:
            federate(experiment, ask=ask, record=results.record, last=last, decide=results.decisions)
        finally:
            results.close()
        return results

    def interrupted(requests: Mapping[str, Request]) -> Mapping[str, Answer]:
        if next(iter(requests.values())).round == stop:
            raise KeyboardInterrupt
        return whole(requests)

    whole = asking(attack="slow drift")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "halves", interrupted)
    halves = run(tmp_path / "halves", whole).rows()
    assert halves == run(tmp_path / "whole", whole).rows()
    assert halves[-1]["watch"]["aside"]


def test_decisions_are_kept_checked_and_added_to(tmp_path: Path) -> None:
    assert read_decisions(tmp_path) == {}
    decide(tmp_path, sites=SITES, aside=["d"])
    assert decide(tmp_path, sites=SITES, aside=["c"], trusted=["d"]) == {"c": "aside", "d": "trusted"}
    assert read_decisions(tmp_path) == {"c": "aside", "d": "trusted"}
    with pytest.raises(ValueError, match="no site x in this experiment; there are: a, b, c, d"):
        decide(tmp_path, sites=SITES, trusted=["x"])
    with pytest.raises(ValueError, match="a: expected one decision a site, got both"):
        decide(tmp_path, sites=SITES, trusted=["a"], aside=["a"])
    with pytest.raises(ValueError, match="expected at least 2 sites that teach, got 1"):
        decide(tmp_path, sites=SITES, aside=["a", "b"])
    path = tmp_path / "decisions.json"
    path.write_bytes(path.read_bytes().replace(b"trusted", b"trustee"))
    (tmp_path / "decisions.json.previous").unlink(missing_ok=True)
    with pytest.raises(Damaged):
        read_decisions(tmp_path)


def test_there_are_four_kinds_of_watch() -> None:
    with pytest.raises(ValueError, match="watch: expected one of off, tell, weigh, put_aside, got 'asleep'"):
        experiment_of(watch="asleep")


@pytest.mark.parametrize("method", [Mdhfl(blind=True), FedAvg()])
def test_where_the_server_sees_no_knowledge_a_watch_that_acts_is_refused(method: Method) -> None:
    """It would be promised and never come."""
    for watch in ("weigh", "put_aside"):
        with pytest.raises(ValueError, match=f"got '{watch}': with {re.escape(method.title)}, as it is set"):
            replace(experiment_of(), method=method, watch=watch)
    assert replace(experiment_of(), method=method, watch="tell").watch == "tell"
