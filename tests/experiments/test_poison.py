"""The attacks are what they say and pass the server's checks; the tables are those of the committed runs."""

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from statistics import mean

import numpy as np
import pytest
from fakes.small_federation import write_federation
from fakes.watched import SITES, asking, experiment_of, honest

from experiments.attacks import ATTACKS
from experiments.false_alarms import FOUND
from experiments.poison import (
    ALONE,
    ATTACKED,
    COLLUDING,
    FIELDS,
    FRESH,
    HONEST,
    PAGE,
    TEACHERS,
    WATCHES,
    WITHOUT_BOTH,
    Cell,
    alarm_table,
    attack_table,
    cells,
    measured,
    page,
)
from experiments.poison_replay import DEFENCES, NONE, keep_messages, read_messages, replay
from experiments.small_federations import bundles_in, with_flipped_labels
from mdhfl.learning.bundle_check import verify_bundle
from mdhfl.rounds.loop import federate
from mdhfl.sharing.exchange import Round
from mdhfl.sharing.knowledge import Knowledge, check_knowledge
from mdhfl.showing.sheets import read_csv


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_passes_the_servers_checks_and_touches_nobody_else(attack: str) -> None:
    request = experiment_of().request("learn", number=2)
    requests = dict.fromkeys(SITES, request)
    sent, said = asking(attack=attack)(requests), asking()(requests)
    for site in SITES:
        one, other = sent[site].shared, said[site].shared
        assert isinstance(one, Knowledge)
        assert isinstance(other, Knowledge)
        check_knowledge(one, expected=request.subject, number=2)
        assert (site == "d") == (not np.array_equal(one.values, other.values))


def test_the_attacks_are_what_they_say() -> None:
    own, random = honest("d", 3), np.random.default_rng(0)
    others = {site: honest(site, 3) for site in "abc"}
    assert (ATTACKS["one class"](own, 3, others, random).argmax(axis=1) == 0).all()
    np.testing.assert_allclose(ATTACKS["permuted"](own, 3, others, random)[:, 1], own[:, 0])
    sharp = ATTACKS["sharp and permuted"](own, 3, others, random)
    assert (sharp.argmax(axis=1) == (own.argmax(axis=1) + 1) % own.shape[1]).all()
    assert (sharp.max(axis=1) >= own.max(axis=1) - 1e-9).all()
    np.testing.assert_allclose(ATTACKS["copy"](own, 3, others, random), others["a"], rtol=0.2)
    drift = ATTACKS["slow drift"]
    np.testing.assert_allclose(drift(own, 0, others, random), own)
    np.testing.assert_allclose(drift(own, 9, others, random), np.roll(own, 1, axis=1))
    np.testing.assert_allclose(drift(own, 1, others, random), 0.8 * own + 0.2 * np.roll(own, 1, axis=1))


def test_flipped_labels_are_the_attackers_and_the_next_class(tmp_path: Path) -> None:
    federation = write_federation(tmp_path / "fed", sites=("site-1", "site-4"))
    flipped = with_flipped_labels(federation, ["site-4"])

    def labels(folder: Path, site: str, part: str) -> list[int]:
        listed = json.loads((folder / "sites" / site / "datalist.json").read_text())
        return [item["label"] for item in listed[part]]

    assert labels(flipped, "site-1", "training") == labels(federation, "site-1", "training")
    assert labels(flipped, "site-4", "test") == labels(federation, "site-4", "test")
    assert labels(flipped, "site-4", "training") == [(c + 1) % 3 for c in labels(federation, "site-4", "training")]


def test_the_small_networks_train(tmp_path: Path) -> None:
    for bundle in bundles_in(tmp_path):
        assert verify_bundle(bundle, num_classes=8, image_size=32) == []


def test_no_run_is_asked_for_with_other_sites_than_it_counts() -> None:
    asked = list(dict.fromkeys(cells()))
    assert len({cell.key for cell in asked}) == len(asked)
    assert all(not set(cell.attackers) & set(cell.honest) for cell in asked)
    assert Cell(split="0.5", seed=0, attack=COLLUDING, defence="mean").attackers == ("site-4", "site-5")
    assert Cell(split="0.5", seed=0, attack=HONEST, defence="mean").attackers == ()


def test_the_messages_of_a_run_are_replayed_with_each_attack_and_defence(tmp_path: Path) -> None:
    sent: list[Round] = []
    federate(experiment_of(rounds=3), ask=asking(), record=sent.append)
    keep_messages(tmp_path / "0.5-1.npz", sent)
    messages = read_messages(tmp_path / "0.5-1.npz")
    for finished in sent:
        for site, said in finished.shared.items():
            assert isinstance(said, Knowledge)
            np.testing.assert_array_equal(messages[finished.number][site].values, said.values)
    rows = {(row["attack"], row["defence"]): row for row in replay(messages)}
    assert set(rows) == {(attack, defence) for attack in (NONE, *ATTACKS) for defence in DEFENCES}
    assert all(row["false_alarms"] == 0 for row in rows.values())
    assert rows["permuted", "put aside"]["moved"] == 0, "put aside before the first lesson"
    assert rows["random rows", "weigh"]["moved"] < rows["random rows", "mean"]["moved"] / 2
    assert rows["permuted", "mean"]["named_in"] in (0, 1)
    assert rows[NONE, "mean"]["named_in"] == ""


def test_the_tables_are_means_over_the_seeds_against_the_run_without_who_attacks() -> None:
    row = {"split": "0.5", "defence": "mean", "named_in": "", "false_alarms": "0", "looked_at": "20"}
    rows = [
        {**row, "seed": "109", "attack": ALONE, "macro_f1": "50"},
        {**row, "seed": "110", "attack": ALONE, "macro_f1": "60"},
        {**row, "seed": "110", "attack": WITHOUT_BOTH, "macro_f1": "30"},
        {**row, "seed": "109", "attack": "permuted", "macro_f1": "47"},
        {**row, "seed": "110", "attack": "permuted", "macro_f1": "59", "false_alarms": "1"},
        {**row, "seed": "109", "attack": "permuted", "defence": "put aside", "macro_f1": "51", "named_in": "1"},
        {**row, "seed": "110", "attack": "permuted", "defence": "put aside", "macro_f1": "59", "named_in": "never"},
        {**row, "seed": "110", "attack": COLLUDING, "macro_f1": "33"},
        {**row, "seed": "100", "attack": HONEST, "macro_f1": "1", "looked_at": "", "false_alarms": ""},
    ]
    shown = attack_table(rows, seeds=FRESH, defences=WATCHES)
    assert "| permuted | -2.0 (-3.0 to -1.0) | +0.0 (-1.0 to +1.0) | - | 1, never |" in shown
    assert f"| {COLLUDING} | +3.0 (+3.0 to +3.0) | - | - | - |" in shown
    assert "named" not in attack_table(rows, seeds=FRESH, defences=TEACHERS)
    alarms = alarm_table(rows)
    assert "| Dirichlet 0.5, honest sites beside an attacker who goes on | 60 | 1 | 1.7% |" in alarms
    assert "| Dirichlet 0.5, honest sites beside an attacker who is put aside | 40 | 0 | 0.0% |" in alarms
    assert "| Dirichlet 0.5, all honest | 60 | 0 | 0.0% |" in alarms


def test_the_figures_in_the_prose_follow_from_the_runs() -> None:
    rows = [row for row in measured() if int(row["seed"]) in FRESH]
    score = {
        (row["attack"], row["defence"], row["seed"]): float(row["macro_f1"]) for row in rows if row["split"] == "0.5"
    }
    cost = {
        attack: mean(
            score[WITHOUT_BOTH if attack == COLLUDING else ALONE, "mean", str(seed)]
            - score[attack, "put aside", str(seed)]
            for seed in FRESH
        )
        for attack in (*ATTACKED, COLLUDING)
    }
    text = " ".join(PAGE.read_text(encoding="utf-8").split())
    assert f"at most {max(cost.values()):.1f} in the mean, whatever it sends, two that collude included" in text
    honest_only = (HONEST, ALONE, WITHOUT_BOTH)
    beside = [row for row in rows if row["attack"] not in honest_only]
    assert sum(int(row["false_alarms"]) for row in beside) == 0
    assert f"beside an attacker in {sum(int(row['looked_at']) for row in beside)} looks" in text
    once = [row for row in rows if (row["attack"], row["defence"]) == (HONEST, "mean")]
    others = read_csv(FOUND)
    looks, alarms = (sum(int(row[name]) for row in (*once, *others)) for name in ("looked_at", "false_alarms"))
    assert alarms == 1
    assert f"in {len(once) + len(others)} honest federations one was, in one of {looks}." in text


def test_the_page_shows_the_committed_runs() -> None:
    stale = PAGE.read_text(encoding="utf-8") != page()  # two long texts: their difference takes pytest minutes
    assert not stale, "run python -m experiments.poison --tables"
    keys = [tuple(row[name] for name in FIELDS[:4]) for row in measured()]
    assert len(set(keys)) == len(keys)
    wanted = {cell.key for cell in cells()}
    assert set(keys) <= wanted
    text = io.StringIO()
    csv.DictWriter(text, FIELDS).writeheader()
    assert text.getvalue().strip() == ",".join(FIELDS)


def test_an_attack_on_nobody_changes_nothing() -> None:
    requests = dict.fromkeys(SITES, experiment_of().request("learn", number=1))
    sent, said = asking(attack="permuted", attackers=())(requests), asking()(requests)
    for site in SITES:
        assert replace(sent[site], shared=None, confusion=None) == replace(said[site], shared=None, confusion=None)
