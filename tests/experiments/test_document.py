"""The tables in the documents are those that the experiments wrote."""

import csv
import re
from pathlib import Path

import pytest

from experiments.document import RESULTS, ROOT, documents, folded, replaced
from experiments.figures import METRIC, SHOWN_FIGURE, runs_of


def test_the_documents_show_the_committed_tables() -> None:
    for path, text in documents().items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name}: run python -m experiments.document"


def test_every_result_has_its_experiment_its_section_and_its_scores() -> None:
    text = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    for folder in RESULTS.iterdir():
        assert (ROOT / "experiments" / f"{folder.name}.yaml").is_file()
        files = {path.name for path in folder.iterdir()}
        assert files - {"figure.svg"} == {"table.md", "results.csv", "sites.csv"}
        assert f"--out experiments/results/{folder.name}\n" in text


def test_every_figure_of_the_results_is_kept() -> None:
    figures = re.findall(r"\]\((\S+\.svg)\)", (ROOT / "docs" / "results.md").read_text(encoding="utf-8"))
    assert [ROOT / "docs" / figure for figure in figures] == [SHOWN_FIGURE]
    assert SHOWN_FIGURE.is_file()


@pytest.mark.parametrize("folder", sorted(RESULTS.iterdir()), ids=lambda folder: folder.name)
def test_a_figure_shows_the_scores_of_the_committed_table(folder: Path) -> None:
    with (folder / "results.csv").open(newline="", encoding="utf-8") as file:
        rows = {(r["federation"], r["noise"], r["method"], int(r["seed"])): r for r in csv.DictReader(file)}
    runs = {(r.cell.federation, r.cell.noise, r.cell.method, r.cell.seed): r for r in runs_of(folder)}
    assert runs.keys() == rows.keys()
    for key, run in runs.items():
        assert run.score(METRIC) == pytest.approx(float(rows[key][METRIC]), abs=2e-3)


def test_all_scores_but_the_first_are_folded() -> None:
    parts = [
        "**A: macro-F1 on the test images of all sites, %**\n\n| 1 |",
        "**A: accuracy on the test images of all sites, %**\n\n| 2 |",
        "**A: accuracy on each site's own test images, %**\n\n| 3 |",
        "**A: cost**\n\n| 4 |",
    ]
    text = folded("\n\n".join(parts))
    assert text.index("| 1 |") < text.index("<details>") < text.index("| 2 |") < text.index("| 3 |")
    assert text.index("| 3 |") < text.index("</details>") < text.index("| 4 |")


def test_a_document_without_the_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a document with the marks <!-- grid -->"):
        replaced("nothing", "grid", "| 1 |")
    assert replaced("<!-- grid -->\nold\n<!-- /grid -->", "grid", "new") == "<!-- grid -->\nnew\n<!-- /grid -->"
