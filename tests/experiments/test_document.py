"""The tables in the documents are those that the experiments wrote."""

import re

import pytest

from experiments.document import RESULTS, ROOT, documents, folded, replaced


def test_the_documents_show_the_committed_tables() -> None:
    for path, text in documents().items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name}: run python -m experiments.document"


def test_every_result_has_its_experiment_its_figure_and_its_scores() -> None:
    text = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    for folder in RESULTS.iterdir():
        assert (ROOT / "experiments" / f"{folder.name}.yaml").is_file()
        assert {path.name for path in folder.iterdir()} == {"table.md", "results.csv", "sites.csv", "figure.svg"}
        assert f"experiments/results/{folder.name}/figure.svg" in text
    for figure in re.findall(r"\]\(\.\./(\S+\.svg)\)", text):
        assert (ROOT / figure).is_file()


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
