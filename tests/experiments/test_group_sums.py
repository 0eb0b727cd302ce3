"""Sums of groups are what a server would see; the tables are those of the committed runs."""

from pathlib import Path

import numpy as np
import pytest
from fakes.watched import asking, experiment_of

from experiments import false_alarms, group_sums, group_sums_read
from experiments.group_sums import PAGE, RULES, SENT, Said, grouped, groups_of, lesson, moved
from experiments.group_sums_read import apart, solved
from experiments.poison_replay import Messages, keep_messages, read_messages
from mdhfl.methods.mdhfl_plus import MdhflPlus
from mdhfl.rounds.loop import federate
from mdhfl.sharing.exchange import Round


@pytest.fixture
def messages(tmp_path: Path) -> Messages:
    """Of four honest sites, in three rounds."""
    sent: list[Round] = []
    federate(experiment_of(rounds=2), ask=asking(), record=sent.append)
    keep_messages(tmp_path / "0.5-1.npz", [
        Round(number=r.number, requests={}, answers={}, shared={f"site-{ord(s) - 96}": k for s, k in r.shared.items()})
        for r in sent
    ])  # fmt: skip
    return read_messages(tmp_path / "0.5-1.npz")


def said(*, sites: int = 5) -> Said:
    random = np.random.default_rng(3)
    return random.dirichlet(np.ones(3), size=(sites, 7)), random.uniform(0.1, 1, (sites, 3))


def test_groups_are_all_sites_once_and_none_is_smaller_than_asked() -> None:
    for sites in (8, 12, 20):
        for size in (1, 2, 3):
            groups = groups_of(sites, size, seed=[0, 1])
            assert sorted(np.concatenate(groups).tolist()) == list(range(sites))
            assert min(map(len, groups)) >= size
            assert len(groups) == sites // size
    assert [g.tolist() for g in groups_of(20, 2, seed=[1])] != [g.tolist() for g in groups_of(20, 2, seed=[2])]


def test_a_mean_of_groups_is_the_mean_and_what_a_group_says_is_its_mean() -> None:
    values, weights = said()
    sums = grouped((values, weights), [np.array([0, 3]), np.array([1, 2, 4])])
    expected = (values[0] * weights[0] + values[3] * weights[3]) / (weights[0] + weights[3])
    np.testing.assert_allclose(sums[0][0], expected)
    np.testing.assert_allclose(sums[1][0], weights[0] + weights[3])
    np.testing.assert_allclose(lesson(sums, "mean"), lesson((values, weights), "mean"), rtol=1e-5)


def test_the_lesson_of_single_sites_is_the_packages(messages: Messages) -> None:
    for rule in ("mean", "median", "trimmed"):
        theirs = MdhflPlus(robust=rule).combine(messages[1], sites=("",), trust={})[""]
        rows = theirs.values / theirs.total  # type: ignore[attr-defined]
        expected = rows / rows.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(lesson(group_sums.said_in(messages, 1, sites=4), rule), expected, atol=1e-6)


def test_one_poisoned_group_of_many_moves_a_median_less_than_a_mean(
    messages: Messages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_sums, "TAKEN", (4,))
    monkeypatch.setattr(group_sums, "POISONED", (1,))
    found = {(row["attack"], row["rule"]): row["moved"] for row in moved(messages)}
    assert {rule for _, rule in found} == set(RULES)
    assert found["none", "mean"] == 0
    assert all(found[attack, "mean"] > found[attack, "median"] > 0 for attack in SENT)
    for attack in SENT:  # two groups, or one: half of the weight is spoilt, and a median is the mean of both
        assert found[attack, "median of 3s"] == pytest.approx(found[attack, "mean"], abs=0.01)


def test_groups_that_change_give_a_site_away_where_answers_stand_still() -> None:
    values, weights = said(sites=6)
    rounds = [(number, values, weights) for number in range(8)]
    many, first = solved(rounds, size=2), solved(rounds[:1], size=2)
    assert apart(many, values) < 0.01
    assert apart(first, values) > 5


def test_a_bound_is_that_of_the_rule_of_three() -> None:
    assert false_alarms.upper_bound(0, 1000) == pytest.approx(1 - 0.05 ** (1 / 1000))
    assert false_alarms.upper_bound(3, 100) == pytest.approx(0.0757, abs=5e-4)  # tables of Clopper and Pearson


def test_an_alarm_is_counted_with_what_was_said_and_an_unheard_site_is_not_looked_at() -> None:
    look = {
        "agreement": 0.5, "typical": 0.5, "renamed": 0.0, "swapped": 0.0, "nearest": 1.0, "short": 0.0, "reasons": [],
        "copies": [], "first": None, "aside": False, "trust": 1.0,
    }  # fmt: skip
    rows = [
        {"round": 0, "site": "a", "watch": look},
        {"round": 0, "site": "b", "watch": {**look, "reasons": ["says the same of every image"]}},
        {"round": 1, "site": "a", "watch": {**look, "agreement": None}},
        {"round": 1, "site": "b"},
    ]
    said = "round 0, b: says the same of every image"
    assert false_alarms.alarms_in(rows) == {"looked_at": 2, "false_alarms": 1, "said": said}


def test_the_page_shows_the_committed_runs() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for name in (false_alarms, group_sums, group_sums_read):
        assert text == name.page(), f"run python -m {name.__name__} --tables"
    keys = [(row["split"], row["seed"]) for row in false_alarms.found()]
    assert len(set(keys)) == len(keys)
    assert set(keys) <= {(cell.split, str(cell.seed)) for cell in false_alarms.cells()}
