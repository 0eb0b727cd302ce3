"""Which runs the report puts together, and what it compares."""

import json
import math
from pathlib import Path

import pytest
from fakes.pages import Reader
from fakes.run_folders import PARAMETERS, SITES, write_federation, write_run

from mdhfl.reports.groups import MEAN, compare, group_runs
from mdhfl.reports.runs import read_report_run
from mdhfl.reports.write import write_report
from mdhfl.store.sealed import read_sealed_json, write_sealed_json

TWO = SITES[:2]


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
