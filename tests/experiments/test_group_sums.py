"""Sums of groups are what a server would see; the tables are those of the committed runs."""

import numpy as np
import pytest
from fakes.watched import honest

from experiments import false_alarms, group_sums, group_sums_read
from experiments.group_sums import PAGE, RULES, SENT, Said, grouped, groups_of, lesson, moved
from experiments.group_sums_read import apart, solved
from experiments.poison_replay import Messages
from mdhfl.methods.mdhfl_plus import MdhflPlus
from mdhfl.sharing.knowledge import Knowledge, Subject

CLASSES = 6
SUBJECT = Subject(
    kind="probabilities", public_digest="0" * 64, public_count=150, classes=tuple(f"c{c}" for c in range(CLASSES))
)


def messages_of(*, sites: int) -> Messages:
    """Return what honest sites with much the same classes say in three rounds."""
    return {
        number: {
            f"site-{k}": Knowledge(
                values=honest("abcdefghijkl"[k - 1], number, noise=0.4, priors=0.2).astype(np.float32),
                subject=SUBJECT,
                site=f"site-{k}",
                round=number,
            )
            for k in range(1, sites + 1)
        }
        for number in range(3)
    }


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


def test_the_lesson_of_single_sites_is_the_packages() -> None:
    messages = messages_of(sites=4)
    for rule in ("mean", "median", "trimmed"):
        theirs = MdhflPlus(robust=rule).combine(messages[1], sites=("",), trust={})[""]
        rows = theirs.values / theirs.total  # type: ignore[attr-defined]
        expected = rows / rows.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(lesson(group_sums.said_in(messages, 1, sites=4), rule), expected, atol=1e-6)


def test_a_median_of_groups_keeps_out_less_than_one_of_sites_and_of_two_groups_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(group_sums, "TAKEN", (5, 10))
    monkeypatch.setattr(group_sums, "POISONED", (1,))
    rows = list(moved(messages_of(sites=10)))
    found = {(row["sites"], row["attack"], row["rule"]): row["moved"] for row in rows}
    assert {rule for *_, rule in found} == set(RULES)
    for sites in (5, 10):
        assert found[sites, "none", "mean"] == 0
        assert found[sites, "none", "median"] > 0
    for attack in SENT:
        moves = [found[10, attack, rule] for rule in ("mean", "median of 3s", "median of 2s", "median")]
        assert moves == sorted(moves, reverse=True)
        assert moves[0] > 2 * moves[-1]
        assert found[5, attack, "median of 2s"] == pytest.approx(found[5, attack, "mean"], rel=0.2)  # of 3 and 2 sites
        assert found[5, attack, "median of 3s"] == pytest.approx(found[5, attack, "mean"], rel=1e-3)  # one group


def test_groups_that_change_give_a_site_away_where_answers_stand_still() -> None:
    values, weights = said(sites=6)
    rounds = [(number, values, weights) for number in range(8)]
    many, first = (solved(some, size=2, ridge=1e-6) for some in (rounds, rounds[:1]))
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
