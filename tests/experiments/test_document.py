"""The tables in the documents are those that the experiments wrote."""

import csv
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev

import pytest

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
