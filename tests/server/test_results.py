"""What the server keeps: whole rounds only, in one line per site, with the knowledge that a resume needs."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fakes.answers import EXPERIMENT, answer_of

from mdhfl.files import StateError
from mdhfl.rounds.loop import Round, federate
from mdhfl.server.journal import lines_of, read_rows
from mdhfl.server.results import Results


def record_all(folder: Path, *, rounds: int = 3) -> Results:
    experiment = replace(EXPERIMENT, rounds=rounds)
    results = Results(folder, experiment=experiment)
    results.resume()
    federate(
        experiment,
        ask=lambda requests: {site: answer_of(site, request) for site, request in requests.items()},
        record=results.record,
    )
    return results


def test_one_line_per_site_and_round_with_scores_and_costs(tmp_path: Path) -> None:
    rows = record_all(tmp_path).rows()
    assert [(r["round"], r["site"]) for r in rows] == [(n, s) for n in range(4) for s in "abc"]
    assert rows[0]["test"]["accuracy"] == 1.0
    assert rows[0]["test"]["confusion"] == [[1, 0], [0, 1]]
    assert rows[0]["bytes"]["up"] > 4 * 2 * 4
    assert set(rows[5]["divergence"]) == {"a", "b"}  # site c: from each of the others


def test_divergences_are_those_of_the_recorded_knowledge(tmp_path: Path) -> None:
    results = record_all(tmp_path)
    last = results.resume()
    assert last is not None
    a, b = (last.shared[site].values.astype(np.float64) for site in "ab")
    expected = np.mean((a * np.log(a / b)).sum(axis=1))
    row = next(r for r in results.rows() if (r["round"], r["site"]) == (3, "b"))
    assert row["divergence"]["a"] == pytest.approx(expected, rel=1e-5)


def test_a_resume_gives_back_the_last_round_bit_for_bit(tmp_path: Path) -> None:
    results = record_all(tmp_path)
    last = results.resume()
    assert last is not None
    assert last.number == 3
    request = EXPERIMENT.request("learn", number=3)
    for site, knowledge in last.shared.items():
        expected = answer_of(site, request).shared
        assert expected is not None
        np.testing.assert_array_equal(knowledge.values, expected.values)


@pytest.mark.parametrize("cut", [1, 40, 400])
def test_a_half_written_round_is_dropped(tmp_path: Path, cut: int) -> None:
    results = record_all(tmp_path, rounds=2)
    whole = results.rows()
    path = tmp_path / "results.jsonl"
    more = [{"round": 3, "site": "a", "status": "ok"}, {"round": 3, "site": "b", "status": "x" * cut}]
    path.write_bytes(lines_of([*whole, *more])[: -cut - 1])
    assert results.rows() == whole
    last = results.resume()
    assert last is not None
    assert last.number == 2
    assert read_rows(tmp_path / "results.jsonl") == whole


def test_missing_knowledge_is_named(tmp_path: Path) -> None:
    results = record_all(tmp_path)
    for file in (tmp_path / "shared").iterdir():
        file.unlink()
    with pytest.raises(StateError, match=r"round-0003.npz: missing; restore it from a backup"):
        results.resume()


def test_nothing_recorded_means_nothing_to_resume(tmp_path: Path) -> None:
    assert Results(tmp_path, experiment=EXPERIMENT).resume() is None


def test_a_refused_site_keeps_its_line_and_its_earlier_scores(tmp_path: Path) -> None:
    results = Results(tmp_path, experiment=EXPERIMENT)

    def ask(requests):  # type: ignore[no-untyped-def]
        answers = {site: answer_of(site, request) for site, request in requests.items()}
        if requests["b"].round == 3:
            answers["b"] = replace(answers["b"], refusal="b is ill")
        return answers

    federate(EXPERIMENT, ask=ask, record=results.record)
    refused = [row for row in results.rows() if row["status"] == "refused"]
    assert [(row["round"], row["site"], row["reason"]) for row in refused] == [(3, "b", "b is ill")]
    summary = json.loads(json.dumps(results.summarise(engine="inprocess", federation="x")))
    assert summary["sites"]["b"]["round"] == 2
    assert summary["sites"]["b"]["refused"] == [{"round": 3, "reason": "b is ill"}]
    assert summary["mean"]["accuracy"] == 1.0
    assert summary["status"] == "finished"


def test_site_names_need_not_be_file_names(tmp_path: Path) -> None:
    sites = ("St. Mary's/Rome", "site 2")
    experiment = replace(EXPERIMENT, sites=sites, training_images=dict.fromkeys(sites, 5))
    results = Results(tmp_path, experiment=experiment)
    results.resume()
    request = experiment.request("warm_up", number=0)
    answers = {site: replace(answer_of("a", request), site=site) for site in sites}
    knowledge = {site: replace(answer.shared, site=site) for site, answer in answers.items() if answer.shared}
    results.record(Round(number=0, requests=dict.fromkeys(answers, request), answers=answers, shared=knowledge))
    last = results.resume()
    assert last is not None
    assert set(last.shared) == set(sites)
