"""Which runs the report puts together, and what it compares."""

import csv
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from fakes.damage import edit_sealed
from fakes.pages import Reader
from fakes.run_folders import PARAMETERS, SITES, write_federation, write_run

from mdhfl.reports.groups import MEAN, Comparison, Group, compare, group_runs
from mdhfl.reports.runs import read_report_run
from mdhfl.reports.write import write_report
from mdhfl.store.sealed import read_sealed_json, write_sealed_json

TWO = SITES[:2]
BUDGET = {"epsilon": 1, "delta": 1e-5}


@pytest.fixture
def federation(tmp_path: Path) -> Path:
    return write_federation(tmp_path / "fed", sites=TWO)


def test_comparison_over_seeds(tmp_path: Path, federation: Path) -> None:
    runs = [
        write_run(tmp_path / f"{method}-{seed}", federation=federation, sites=TWO, method=method, seed=seed)
        for method in ("mdhfl", "local")
        for seed in (0, 1)
    ]
    page = Reader(write_report(runs, out=tmp_path / "report"))
    means = [json.loads((run / "summary.json").read_text())["mean"]["accuracy"] for run in runs]
    ours, theirs = (means[0] + means[1]) / 2, (means[2] + means[3]) / 2
    spread = abs(means[0] - means[1]) / math.sqrt(2)
    shown = next(row for row in page.rows["comparison"] if row[0] == MEAN)
    assert shown[1] == f"{ours:.3f} ± {spread:.3f}"
    difference = f"{ours - theirs:+.3f}".replace("-", "\N{MINUS SIGN}")
    assert shown[3].split(" ± ")[0] == difference
    assert shown[4] == "2"
    data = json.loads((tmp_path / "report" / "report.json").read_text())["comparisons"][0]
    assert data["scores"]["accuracy"][-1]["difference"] == pytest.approx(ours - theirs)


def test_groups_keep_unlike_runs_apart(tmp_path: Path, federation: Path) -> None:
    sce = {**PARAMETERS["local"], "ce_weight": 0.1, "rce_weight": 1.0}
    folders = [
        write_run(tmp_path / "a", federation=federation, sites=TWO, method="local"),
        write_run(tmp_path / "b", federation=federation, sites=TWO, method="local", parameters=sce),
        write_run(tmp_path / "c", federation=federation, sites=TWO),
        write_run(tmp_path / "d", federation=federation, sites=TWO, engine="flare"),
        write_run(tmp_path / "e", federation=federation, sites=TWO, rounds=9, recorded=1),
        write_run(tmp_path / "f", federation=tmp_path / "other", sites=TWO),
        write_run(tmp_path / "g", federation=federation, sites=TWO),
    ]
    groups = group_runs([read_report_run(folder) for folder in folders])
    assert [group.label for group in groups] == [
        "local only, CE",
        "local only, SCE",
        "MDH-FL, inprocess, 3 rounds",
        "MDH-FL, flare, 3 rounds",
        "MDH-FL, inprocess, 1 rounds, unfinished",
        "MDH-FL",
    ]
    assert groups[2].repeated == (0,)
    strongest = max(groups[:2], key=lambda group: group.scores(MEAN, score="macro_f1")[0])
    assert [each.alone for each in compare(groups)] == [strongest] * 3


@pytest.mark.slow
@pytest.mark.parametrize(("ours", "theirs"), [(0.7, 0.5), (0.4, 0.5), (0.5, 0.5)])
def test_the_first_line_says_who_won_by_how_much(tmp_path: Path, federation: Path, ours: float, theirs: float) -> None:
    """Against the strongest training alone, which is the balanced one here; upper bounds are no rivals."""
    macro_f1 = {"mdhfl_plus": ours, "local_plus": theirs, "local": 0.3, "centralised": 0.9}
    runs = []
    for method, score in macro_f1.items():
        for seed in (0, 1):
            run = write_run(
                tmp_path / f"{method}-{seed}", federation=federation, sites=TWO, method=method, seed=seed,
                parameters=PARAMETERS["local"],
            )  # fmt: skip
            summary = read_sealed_json(run / "summary.json")
            summary["mean"]["macro_f1"] = score + 0.1 * seed
            write_sealed_json(run / "summary.json", summary)
            runs.append(run)
    (comparison,) = compare(group_runs([read_report_run(run) for run in runs]))
    told = {0.7: "20.0 points of macro-F1 ahead of", 0.4: "10.0 points of macro-F1 behind", 0.5: "level with"}[ours]
    assert comparison.verdict == (
        f"MDH-FL+: {told} the strongest training alone (local, balanced and averaged), mean over the sites' own clean "
        "test images, 2 seeds, standard deviation 0.0."
    )
    page = write_report(runs, out=tmp_path / "report").read_text(encoding="utf-8")
    assert comparison.verdict.replace("'", "&#39;") in page.partition('<div class="asked">')[0]


def test_the_same_method_on_two_federations_keeps_its_name(tmp_path: Path) -> None:
    runs = [
        read_report_run(write_run(tmp_path / name, federation=tmp_path / f"fed-{name}", sites=TWO)) for name in "ab"
    ]
    groups = group_runs(runs)
    assert [group.label for group in groups] == ["MDH-FL", "MDH-FL"]
    assert [group.federation for group in groups] == [str(tmp_path / "fed-a"), str(tmp_path / "fed-b")]
    assert compare(groups) == []


def chosen_run(folder: Path, federation: Path, *, seed: int = 0, digests: str = "", **record: Any) -> Path:
    """Write a run with more in its record, and with a digest for each site's bundle, a letter each."""
    run = write_run(folder, federation=federation, sites=TWO, seed=seed, rounds=1)
    sites = read_sealed_json(run / "experiment.json")["sites"]
    sites |= {site: {**sites[site], "bundle_digest": letter * 16} for site, letter in zip(TWO, digests, strict=False)}
    edit_sealed(run / "experiment.json", sites=sites, **record)
    return run


def labels_and_seeds(*runs: Path) -> list[tuple[str, tuple[int, ...]]]:
    return [(group.label, group.seeds) for group in group_runs([read_report_run(run) for run in runs])]


def test_runs_of_other_policies_are_no_seeds_of_one_another(tmp_path: Path, federation: Path) -> None:
    """None of them is dropped, and the CSV files tell them apart."""
    runs = [
        chosen_run(tmp_path / "plain", federation, defences={}, privacy={}, watch="tell"),
        chosen_run(tmp_path / "epsilon", federation, defences={}, privacy=BUDGET, watch="tell"),
        chosen_run(tmp_path / "precision", federation, seed=1, defences={"precision": 1}, privacy={}, watch="weigh"),
    ]
    page = write_report(runs, out=tmp_path / "report")
    assert labels_and_seeds(*runs) == [
        ("MDH-FL", (0,)),
        ("MDH-FL, epsilon 1", (0,)),
        ("MDH-FL, precision 1, watch weigh", (1,)),
    ]
    assert "given more than once" not in page.read_text(encoding="utf-8")
    names = ("privacy.epsilon", "privacy.delta", "defence.precision", "watch")
    for file in ("scores.csv", "summary.csv"):
        with (page.parent / file).open(newline="") as lines:
            rows = list(csv.DictReader(lines))
        assert {(row["run"], *(row[name] for name in names)) for row in rows} == {
            ("plain", "", "", "", ""),
            ("epsilon", "1", "1e-05", "", ""),
            ("precision", "", "", "1", "weigh"),
        }
        assert "bundles" not in rows[0]


def test_a_budget_is_told_by_its_epsilon_and_by_more_where_budgets_differ_in_it(
    tmp_path: Path, federation: Path
) -> None:
    plain = chosen_run(tmp_path / "a", federation)
    small = chosen_run(tmp_path / "b", federation, privacy=BUDGET)
    again = chosen_run(tmp_path / "c", federation, seed=1, privacy={"epsilon": 1.0, "delta": 1e-5})
    other = chosen_run(tmp_path / "d", federation, privacy={**BUDGET, "delta": 1e-6, "rounds": 9})
    assert labels_and_seeds(small, again) == [("MDH-FL", (0, 1))]
    assert labels_and_seeds(small, again, plain) == [("MDH-FL, epsilon 1", (0, 1)), ("MDH-FL", (0,))]
    assert labels_and_seeds(small, other) == [
        ("MDH-FL, delta 1e-05", (0,)),
        ("MDH-FL, delta 1e-06, noise for 9 rounds", (0,)),
    ]


def test_a_record_from_before_these_choices_is_one_without_them(tmp_path: Path, federation: Path) -> None:
    old = write_run(tmp_path / "old", federation=federation, sites=TWO, rounds=1)
    new = chosen_run(tmp_path / "new", federation, seed=1, defences={}, privacy={}, watch="tell")
    limited = chosen_run(tmp_path / "limited", federation, defences={"rounds": 2})
    assert labels_and_seeds(old, new, limited) == [("MDH-FL", (0, 1)), ("MDH-FL, new answers in 2 rounds", (0,))]


def test_runs_of_other_code_of_their_bundles_are_kept_apart(tmp_path: Path, federation: Path) -> None:
    runs = [
        chosen_run(tmp_path / name, federation, seed=seed, digests=digests)
        for name, seed, digests in [("a", 0, "ab"), ("b", 1, "ab"), ("c", 1, "ac"), ("d", 2, "")]
    ]
    first, _, changed, unknown = (read_report_run(run).bundles for run in runs)
    assert labels_and_seeds(*runs) == [
        (f"MDH-FL, bundles {first[:6]}", (0, 1)),
        (f"MDH-FL, bundles {changed[:6]}", (1,)),
        ("MDH-FL, bundles not recorded", (2,)),
    ]
    assert len({first, changed, unknown}) == 3
    with (write_report(runs, out=tmp_path / "report").parent / "scores.csv").open(newline="") as lines:
        assert {(row["run"], row["bundles"]) for row in csv.DictReader(lines)} == {
            ("a", first), ("b", first), ("c", changed), ("d", "")
        }  # fmt: skip


def test_what_a_setting_changes_of_bundles_is_named_once(tmp_path: Path, federation: Path) -> None:
    """It changes the bundles' digests as well."""
    runs = [
        chosen_run(tmp_path / "a", federation, digests="ab", bundle_changes={}),
        chosen_run(tmp_path / "b", federation, digests="cd", bundle_changes={"learning_rate": 0.1}),
    ]
    assert [label for label, _ in labels_and_seeds(*runs)] == [
        "MDH-FL, bundle.learning_rate=as in the bundle",
        "MDH-FL, bundle.learning_rate=0.1",
    ]


def scored(shares: Mapping[int, float], alone: Mapping[int, float]) -> Comparison:
    """Return the comparison of two groups with these scores by seed."""

    class Scored(Group):
        def scores(self, site: str, *, score: str) -> dict[int, float]:
            return dict(shares if self.label == "MDH-FL+" else alone)

    ours, theirs = (
        Scored(label=label, federation="f", method="m", runs=(), repeated=()) for label in ("MDH-FL+", "alone")
    )
    return Comparison(federation="f", sharing=ours, alone=theirs, sites=(MEAN,))


@pytest.mark.parametrize(
    ("shares", "alone", "said"),
    [
        ({0: 0.61}, {0: 0.48}, "61 %, alone 48 %: sites gain 13 points (macro-F1)"),
        ({0: 0.48}, {0: 0.49}, "48 %, alone 49 %: sites lose 1 point (macro-F1; may be chance)"),
        ({0: 0.481}, {0: 0.479}, "48 %, alone 48 %: sites gain 0 points (macro-F1; may be chance)"),
        ({}, {0: 0.5}, ""),
    ],
)
def test_one_sentence_says_what_sharing_brings(shares: dict[int, float], alone: dict[int, float], said: str) -> None:
    assert scored(shares, alone).in_short == (f"MDH-FL+ {said}" if said else "")


def test_the_sentence_and_the_verdict_take_the_difference_over_common_seeds() -> None:
    """Seed 1, which only one of them has, is harder: the means over all seeds say the opposite."""
    found = scored({0: 0.8, 1: 0.6}, {0: 0.79})
    assert found.in_short == "MDH-FL+ 80 %, alone 79 %: sites gain 1 point (macro-F1; may be chance)"
    assert found.verdict.startswith("MDH-FL+: 1.0 points of macro-F1 ahead of")
    assert found.verdict.endswith(", 1 seed.")


def test_a_difference_without_a_common_seed_is_said_not_to_be_paired() -> None:
    found = scored({0: 0.6, 1: 0.7}, {2: 0.5})
    assert found.in_short == (
        "MDH-FL+ 65 %, alone 50 %: sites gain 15 points (macro-F1; not paired: no seed in common)"
    )
    assert found.verdict.endswith("own clean test images, not paired: no seed in common.")
    near = scored({0: 0.6}, {1: 0.58}).in_short
    assert near.endswith("sites gain 2 points (macro-F1; not paired: no seed in common; may be chance)")
