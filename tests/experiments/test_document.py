"""The tables in the documents are those that the experiments wrote."""

import csv
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev

import pytest
from scipy.stats import t

from experiments import faults, networks
from experiments.document import (
    HEADLINE,
    README_FEDERATIONS,
    README_METHODS,
    RESULTS,
    ROOT,
    documents,
    readme_table,
    replaced,
    scores,
)
from experiments.tables import FIGURES, SHOWN, runs_of
from mdhfl.comparison.columns import COLUMNS
from mdhfl.comparison.compare import write_tables
from mdhfl.comparison.grid import read_comparison

COMPARISONS = sorted(path.parent.name for path in RESULTS.glob("*/table.md"))


def results_page() -> str:
    return (ROOT / "docs" / "results.md").read_text(encoding="utf-8")


def between(text: str, name: str) -> str:
    """Return what stands between the marks of a name."""
    return text.split(f"<!-- {name} -->\n")[1].split(f"<!-- /{name} -->")[0]


def cells_of(text: str) -> dict[str, list[str]]:
    """Return the cells beside each first cell of all tables in a text, without bold type."""
    cells: dict[str, list[str]] = defaultdict(list)
    for line in text.splitlines():
        if line.startswith("| "):
            first, *others = line.replace("**", "").strip("| ").split(" | ")
            cells[first] += others
    return cells


def agrees(cell: str, values: Sequence[float]) -> bool:
    """Whether a cell says the mean and spread of values that were rounded to three decimals before."""
    if not re.fullmatch(r"[\d.]+( ± [\d.]+)?", cell):
        return False
    said = [float(number) for number in cell.split(" ± ")]
    computed = [mean(values), stdev(values)] if len(values) > 1 else list(values)
    return len(said) == len(computed) and all(abs(a - b) < 0.052 for a, b in zip(said, computed, strict=True))


def test_the_documents_show_the_committed_tables() -> None:
    for path, text in documents().items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name}: run python -m experiments.document"


@pytest.mark.parametrize("name", COMPARISONS)
def test_every_score_in_the_results_follows_from_the_csv(name: str) -> None:
    page = results_page()
    shown = cells_of(between(page, name))
    runs: dict[tuple[str, str, str], list[dict[str, str]]] = defaultdict(list)
    for row in scores(name):
        runs[row["federation"], row["noise"], row["method"]].append(row)
    for (_, _, method), rows in runs.items():
        for metric in COLUMNS:
            values = [float(row[metric]) for row in rows if row.get(metric)]
            assert not values or any(agrees(cell, values) for cell in shown[method]), (name, method, metric)


def test_the_readmes_table_is_part_of_the_whole_one() -> None:
    readme = cells_of(between((ROOT / "README.md").read_text(encoding="utf-8"), "results"))
    page = between(results_page(), HEADLINE)
    for federation, title in README_FEDERATIONS.items():
        whole = cells_of(page.partition(f"**{federation}, noise ")[2].partition("\n\n**")[0])
        assert readme[title] == [whole[method][0] for method in README_METHODS]


def test_the_gains_in_the_prose_follow_from_the_scores() -> None:
    """MDH-FL+ less the strongest local training, by federation: in the README's sentence, and in the results."""
    rows = scores(HEADLINE)

    def gain(federation: str, column: str) -> float:
        mean_of = {
            method: mean(
                float(row[column]) for row in rows if (row["federation"], row["method"]) == (federation, method)
            )
            for method in ("MDH-FL+", "local, balanced and averaged")
        }
        return mean_of["MDH-FL+"] - mean_of["local, balanced and averaged"]

    some, hardly, same = (gain(name, "macro_f1") for name in ("Dirichlet 0.5", "Dirichlet 0.1", "IID"))
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    assert f"gain {some:.0f} points of macro-F1 over the strongest training alone" in readme
    assert f"in common {hardly:.0f}, and sites with the same classes {same:.0f}," in readme
    own = [gain(name, "own_macro_f1") for name in ("Dirichlet 0.5", "Dirichlet 0.1", "IID")]
    assert f"macro-F1 {own[1]:+.0f}, {own[0]:+.0f} and {own[2]:+.0f} points" in readme, "in the order of the rows"
    page = " ".join(results_page().split())
    assert f"by {some:.1f}, {hardly:.1f} and {same:.1f} points of macro-F1 on the test images of all sites" in page
    assert f"by {own[0]:.1f}, {own[1]:.1f} and {own[2]:.1f} on the sites' own" in page


def test_what_the_readme_says_of_other_comparisons_follows_from_their_scores() -> None:
    def score(name: str, federation: str, method: str) -> float:
        rows = scores(name)
        return mean(float(r["macro_f1"]) for r in rows if (r["federation"], r["method"]) == (federation, method))

    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    some, hardly = (
        score("homogeneous_models", federation, "MDH-FL+") - score("homogeneous_models", federation, "FedAvg")
        for federation in ("Dirichlet 0.5", "Dirichlet 0.1")
    )
    assert abs(some) < 1
    assert f"level with FedAvg at Dirichlet 0.5 and {hardly:.0f} points ahead at 0.1" in readme
    best = "centralised, balanced and averaged"
    pooled = [score("weight_sharing", federation, best) for federation in ("Dirichlet 0.1", "Dirichlet 0.5")]
    assert f"would reach {pooled[0]:.0f} and {pooled[1]:.0f} in the first two rows" in readme
    drawn, tiles = (
        score("public_sets", public, "MDH-FL+") for public in ("400 drawn cells", "400 of another hospital")
    )
    assert abs(drawn - tiles) < 2
    assert "400 drawn cells teach as well as 400 of another hospital" in readme


def test_the_gain_without_wrong_labels_over_the_seeds_that_chose_nothing_is_the_one_in_the_prose() -> None:
    runs = {
        (row["seed"], row["method"]): float(row["macro_f1"])
        for name in ("gain_by_noise", "refinements")
        for row in scores(name)
        if (row["federation"], row["noise"]) == ("Dirichlet 0.5", "none")
    }
    chose = "100"
    gains = [
        score - runs[seed, "local, balanced and averaged"]
        for (seed, method), score in runs.items()
        if method == "MDH-FL+" and seed != chose
    ]
    low, high = t.interval(0.95, len(gains) - 1, loc=mean(gains), scale=stdev(gains) / len(gains) ** 0.5)
    text = f"{mean(gains):.1f} points over five seeds (95 % interval {low:+.1f} to {high:+.1f})"
    assert len(gains) == 5
    assert text in " ".join(results_page().split())


def test_the_smallest_gain_of_a_seed_is_the_one_in_the_prose() -> None:
    runs = {(row["federation"], row["seed"], row["method"]): float(row["macro_f1"]) for row in scores(HEADLINE)}
    gains = [
        value - runs[federation, seed, "local, balanced and averaged"]
        for (federation, seed, method), value in runs.items()
        if method == "MDH-FL+"
    ]
    assert len(gains) == 15
    assert f"the smallest gain of all fifteen is {min(gains):.1f} points" in " ".join(results_page().split())


def test_every_result_has_its_experiment_its_figure_and_its_scores() -> None:
    text = results_page()
    for folder in RESULTS.iterdir():
        assert (ROOT / "experiments" / f"{folder.name}.yaml").is_file()
        files = {path.name for path in folder.iterdir()}
        assert files - {"figure.svg", "rounds.svg", "rounds.csv", "scores.csv"} == {
            "table.md",
            "results.csv",
            "sites.csv",
        }
        assert f"--out experiments/results/{folder.name}\n" in text


def test_every_figure_of_the_results_is_kept() -> None:
    figures = re.findall(r"\]\((\S+\.svg)\)", results_page())
    assert [ROOT / "docs" / figure for figure in figures] == [FIGURES / name for name in SHOWN.values()]
    assert all((FIGURES / name).is_file() for name in SHOWN.values())


@pytest.mark.parametrize("folder", sorted(RESULTS.iterdir()), ids=lambda folder: folder.name)
def test_the_committed_tables_follow_from_the_committed_scores(folder: Path, tmp_path: Path) -> None:
    comparison = read_comparison(ROOT / "experiments" / f"{folder.name}.yaml")
    write_tables(tmp_path, comparison.question, runs_of(folder))
    for name in ("table.md", "results.csv", "sites.csv"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes(), f"{name}: run make tables"


def test_the_details_of_every_comparison_are_folded() -> None:
    text = results_page()
    for name in COMPARISONS:
        before, after = text.split(f"<!-- {name} -->")
        assert before.count("<details>") == before.count("</details>") + 1, name
        assert after.index("</details>") < after.find("<details>") % (len(after) + 1), name


def test_every_question_is_answered_and_leads_to_its_section() -> None:
    text = results_page()
    anchors = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in re.findall(r"(?m)^## (.+)$", text)}
    summary = text.split("\n## ")[0]
    assert set(re.findall(r"\]\(#([\w-]+)\) \|$", summary, re.MULTILINE)) == anchors


def test_the_readmes_table_shows_mean_and_spread() -> None:
    rows = [
        {"federation": federation, "method": method, "macro_f1": score}
        for federation in README_FEDERATIONS
        for method in README_METHODS
        for score in ("30", "32") + (("40",) if method == "MDH-FL" else ())
    ]
    lines = readme_table(rows).splitlines()
    assert len(lines) == 2 + len(README_FEDERATIONS)
    first, *others = lines[2].split(" | ")
    assert first == f"| {next(iter(README_FEDERATIONS.values()))}"
    assert others == ["31.0 ± 1.4", "31.0 ± 1.4", "31.0 ± 1.4", "**34.0 ± 5.3**", "31.0 ± 1.4 |"]


def test_a_document_without_the_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a document with the marks <!-- grid -->"):
        replaced("nothing", "grid", "| 1 |")
    assert replaced("<!-- grid -->\nold\n<!-- /grid -->", "grid", "new") == "<!-- grid -->\nnew\n<!-- /grid -->"


def test_the_page_of_faults_shows_the_committed_measurements() -> None:
    rows = list(csv.DictReader(faults.MEASURED.open(encoding="utf-8")))
    text = faults.PAGE.read_text(encoding="utf-8")
    assert text == faults.page()
    for row in rows:
        assert f"| {row['fault']} | {row['detected_seconds']} s | {row['whole_seconds']} s | {row['lost']} |" in text
    assert len(rows) >= 6


def test_the_networks_table_follows_from_what_was_measured() -> None:
    assert results_page() == networks.page(), "run python -m experiments.networks"
    measured = {(row["bundle"], row["network"]) for row in networks.rows()}
    assert measured == {(bundle, network) for bundle in networks.BUNDLES for network in networks.NETWORKS}


def gains_of(name: str, federation: str, column: str) -> list[float]:
    """MDH-FL+ less the strongest local training, seed by seed."""
    runs = {(row["method"], row["seed"]): float(row[column]) for row in scores(name) if row["federation"] == federation}
    seeds = sorted({seed for _, seed in runs})
    return [runs["MDH-FL+", seed] - runs["local, balanced and averaged", seed] for seed in seeds]


def test_the_gains_of_many_sites_in_the_prose_follow_from_the_scores() -> None:
    page = " ".join(results_page().split())
    sites = ("10 sites", "20 sites", "50 sites")
    one, two, three = (mean(gains_of("many_sites", each, "macro_f1")) for each in sites)
    assert f"by {one:.1f}, {two:.1f} and {three:.1f} points of macro-F1 at 10, 20 and 50 sites" in page
    one, two, three = (mean(gains_of("many_sites", each, "own_macro_f1")) for each in sites)
    assert f"and by {one:.1f}, {two:.1f} and {three:.1f} on own images" in page
    every = [gain for each in sites for gain in gains_of("many_sites", each, "macro_f1")]
    assert f"({min(every):.1f} to {max(every):.1f} in single seeds" in page


def test_the_gain_with_even_statistics_in_the_prose_follows_from_the_scores() -> None:
    page = " ".join(results_page().split())
    now = gains_of("even_statistics", "Dirichlet 0.5", "macro_f1")
    before = gains_of(HEADLINE, "Dirichlet 0.5", "macro_f1")[:3]
    assert f"the gain is {mean(now):.1f} instead of {mean(before):.1f}, with the same sign in every seed" in page
    assert min(now) > 0
    own = [mean(gains_of(name, "Dirichlet 0.5", "own_macro_f1")[:3]) for name in ("even_statistics", HEADLINE)]
    assert f"on own images {own[0]:.1f} instead of {own[1]:.1f}" in page


def test_the_gains_with_larger_images_in_the_prose_follow_from_the_scores() -> None:
    page = " ".join(results_page().split())
    gain, own = (gains_of("larger_images", "Dirichlet 0.5", column) for column in ("macro_f1", "own_macro_f1"))
    assert f"MDH-FL+ is {mean(gain):.1f} points of macro-F1 ahead of the strongest training alone on the test" in page
    assert f"all sites, and {mean(own):.1f} on own images, in every seed" in page
    assert min(gain + own) > 0


def test_what_the_rivals_reach_by_noise_in_the_prose_follows_from_the_scores() -> None:
    page, rows = " ".join(results_page().split()), scores("rivals_by_noise")

    def score(noise: str, method: str, column: str = "macro_f1") -> float:
        return mean(float(row[column]) for row in rows if (row["noise"], row["method"]) == (noise, method))

    five = ("MDH-FL+", "local, balanced and averaged", "local CE", "FedMD", "MDH-FL")
    right, flipped = ([score(noise, method) for method in five] for noise in ("none", "pair flip 0.3"))
    said = "MDH-FL+ has {:.1f} points of macro-F1, the strongest training alone {:.1f}, plain training alone {:.1f}, "
    assert (said + "FedMD {:.1f}, MDH-FL {:.1f};").format(*right) in page
    assert "with 30 % pair flips {:.1f}, {:.1f}, {:.1f}, {:.1f} and {:.1f}. No method".format(*flipped) in page
    own = [score(n, five[0], "own_macro_f1") - score(n, five[1], "own_macro_f1") for n in ("none", "pair flip 0.3")]
    assert f"MDH-FL+ is {right[0] - right[1]:.1f} points of macro-F1 ahead of the strongest" in page
    assert f"and {own[0]:.1f} on own images; with pair flips {flipped[0] - flipped[1]:.1f} and {own[1]:.1f}" in page
    assert f"FedMD loses {right[2] - right[3]:.1f} points to plain" in page
    assert f"without wrong labels and {flipped[2] - flipped[3]:.1f} with pair flips" in page
    lost = [score(n, "local CE") - score(n, m) for n in ("none", "pair flip 0.3") for m in ("MDH-FL", "RHFL")]
    assert "lose {:.0f} and {:.0f} points without wrong labels, {:.0f} and {:.0f} with pair flips".format(*lost) in page
    own = [score("pair flip 0.3", m, "own_accuracy") for m in ("MDH-FL", "RHFL", "local CE")]
    assert "(accuracy {:.0f} and {:.0f} against {:.0f} %)".format(*own) in page
    one = [score(n, "MDH-FL, CE weight 1") for n in ("none", "pair flip 0.3")]
    assert "A CE weight of 1 brings MDH-FL to {:.1f} and {:.1f}".format(*one) in page


def test_what_other_forms_cost_in_the_prose_follows_from_the_scores() -> None:
    def score(method: str) -> float:
        return mean(float(row["macro_f1"]) for row in scores("other_forms") if row["method"] == method)

    page, best = " ".join(results_page().split()), score("MDH-FL+")
    joint, coupled, loss = (
        best - score(f"MDH-FL+, {form}") for form in ("joint steps", "coupled pairs of classes", "the paper's loss")
    )
    alone, proxy = score("local, balanced and averaged"), score("ProxyFL")
    assert f"Joint steps have {joint:.1f} points less macro-F1 than phases, coupled pairs {coupled:.1f} less" in page
    assert f"and the paper's loss {loss:.1f} less" in page
    above, below = proxy - alone, best - proxy
    assert f"is {above:.1f} points above the strongest training alone here, and {below:.1f} below MDH-FL+" in page


def test_what_remedies_give_back_where_sharing_costs_something_follows_from_the_scores() -> None:
    def score(method: str, column: str = "macro_f1") -> float:
        return mean(float(row[column]) for row in scores("remedies") if row["method"] == method)

    page, ours, alone = " ".join(results_page().split()), "MDH-FL+", "local, balanced and averaged"
    light, view, rest = (f"{ours}, {how}" for how in ("alignment weight 1", "one view", "at rest from round 6"))
    lost, own = score(alone) - score(ours), score(alone, "own_macro_f1") - score(ours, "own_macro_f1")
    assert f"MDH-FL+ is {lost:.1f} points of macro-F1 behind the strongest training alone here" in page
    assert f"in every seed, and {own:.1f} on own images" in page
    assert f"gains {score(light) - score(ours):.1f} points over the defaults" in page
    ahead, on_own = score(light) - score(alone), score(light, "own_macro_f1") - score(alone, "own_macro_f1")
    assert f"{ahead:.1f} ahead of training alone (-1.6 to +3.5) and {on_own:.1f} on own images (+0.4 to +2.5)" in page
    assert f"leaves a loss of {score(alone) - score(view):.1f}, and" in page
    assert f"from round 6 (by default: never) one of {score(alone) - score(rest):.1f}." in page


def test_what_the_symmetric_loss_is_worth_in_the_prose_follows_from_the_scores() -> None:
    def score(name: str, method: str, noise: str, column: str) -> float:
        rows = (
            row for row in scores(name) if (row["federation"], row["noise"], row["method"]) == ("IID", noise, method)
        )
        return mean(float(row[column]) for row in rows)

    def gain(method: str, noise: str, column: str = "macro_f1") -> float:
        return score("symmetric_loss", method, noise, column) - score("symmetric_loss", "local CE", noise, column)

    page, noises = " ".join(results_page().split()), ("none", "symmetric 0.2", "pair flip 0.3")
    right, even, flipped = (gain("local SCE (1, 1)", noise) for noise in noises)
    assert f"is worth {right:.1f} points of macro-F1 over cross-entropy without a wrong label" in page
    assert f"{even:.1f} with 20 % symmetric noise (+4.2 to +13.6) and {flipped:.1f} with 30 % pair flips" in page
    lost, even, flipped = (gain("local SCE (0.1, 1)", noise) for noise in noises)
    assert (
        f"cost {-lost:.1f} points where no label is wrong, in every seed, and gain {even:.1f} and {flipped:.1f}" in page
    )
    even, flipped = (gain("local SCE (0.1, 1)", noise, "accuracy") for noise in noises[1:])
    assert f"their accuracy gains more ({even:.1f} and {flipped:.1f} points)" in page
    alone = (score("gain_by_noise", "local, balanced and averaged", noise, "macro_f1") for noise in noises)
    assert "has {:.1f}, {:.1f} and {:.1f} points in the same three columns".format(*alone) in page


def test_the_hours_that_the_data_page_gives_are_those_of_the_runs() -> None:
    hours = {
        folder.name: sum(float(row["wall_seconds"]) for row in scores(folder.name)) / 3600
        for folder in RESULTS.iterdir()
    }
    page = " ".join((ROOT / "docs" / "data.md").read_text(encoding="utf-8").split())
    assert f"took {hours[HEADLINE]:.1f} hours together, those of all tables {sum(hours.values()):.0f}" in page
