"""Put the comparisons' tables into docs/results.md and the README: `python -m experiments.document`.

Reads `experiments/results/<name>/table.md`, as `mdhfl compare experiments/<name>.yaml --out experiments/results/<name>`
wrote it, and replaces what stands between `<!-- name -->` and `<!-- /name -->` in the documents.
"""

import re
from pathlib import Path

from mdhfl.comparison.table import METRICS, TITLES

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "experiments" / "results"
README_TABLE = ("noise_grid", TITLES["macro_f1"])  # comparison, and which of its tables


def main() -> None:
    """Write every table that is there into the documents."""
    for path, text in documents().items():
        path.write_text(text, encoding="utf-8")


def documents() -> dict[Path, str]:
    """Return what each document should say, with the tables that are there."""
    results, readme = ROOT / "docs" / "results.md", ROOT / "README.md"
    written = {path: path.read_text(encoding="utf-8") for path in (results, readme)}
    for path in sorted(RESULTS.glob("*/table.md")):
        table = folded(path.read_text(encoding="utf-8").strip().split("\n\n", 1)[1])
        written[results] = replaced(written[results], path.parent.name, table)
    name, title = README_TABLE
    table = table_of((RESULTS / name / "table.md").read_text(encoding="utf-8"), title)
    written[readme] = replaced(written[readme], "results", table)
    return written


def folded(text: str) -> str:
    """Put the tables of all but the first metric behind one click for each federation: they say much the same."""
    kept: list[str] = []
    hidden: list[str] = []
    for part in re.split(r"\n\n(?=\*\*)", text):
        if any(part.split("\n", 1)[0].endswith(f": {TITLES[name]}**") for name in METRICS[1:]):
            hidden.append(part)
            continue
        if hidden:
            kept.append("\n\n".join(["<details><summary>The other scores</summary>", *hidden, "</details>"]))
            hidden = []
        kept.append(part)
    return "\n\n".join(kept)


def table_of(text: str, title: str) -> str:
    """Return the first table below a title."""
    return text[text.index(title) :].split("\n\n")[1].strip()


def replaced(text: str, name: str, table: str) -> str:
    """Return a document's text with another table between the marks of a name.

    Raises:
        ValueError: it has no such marks.
    """
    pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    if not pattern.search(text):
        raise ValueError(f"expected a document with the marks <!-- {name} --> and <!-- /{name} -->")
    return pattern.sub(lambda found: found[1] + table + "\n" + found[2], text)


if __name__ == "__main__":
    main()
