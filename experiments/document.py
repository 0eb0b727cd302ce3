"""Put the comparisons' tables into docs/results.md and the README: `python -m experiments.document`.

Reads what `mdhfl compare experiments/<name>.yaml --out experiments/results/<name>` wrote, and replaces what stands
between `<!-- name -->` and `<!-- /name -->` in the documents: docs/results.md gets every `table.md`, the README a few
of the scores in one `results.csv`.
"""

import csv
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from mdhfl.comparison.table import COLUMNS, MAIN, mean_and_spread

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "experiments" / "results"
GRID, TITLE = "noise_grid", COLUMNS[MAIN].title  # the comparison shown first, and which of its tables
README_NOISES = {"none": "none", "symmetric 0.3": "30 %, symmetric", "pair flip 0.3": "30 %, pair flip"}
README_METHODS = {
    "local CE": "local training",
    "FedMD": "FedMD",
    "MDH-FL": "MDH-FL",
    "MDH-FL, CE weight 1": "MDH-FL, CE weight 1",
}


def main() -> None:
    """Write every table that is there into the documents."""
    for path, text in documents().items():
        path.write_text(text, encoding="utf-8")


def documents() -> dict[Path, str]:
    """Return what each document should say, with the tables that are there."""
    results, readme = ROOT / "docs" / "results.md", ROOT / "README.md"
    written = {path: path.read_text(encoding="utf-8") for path in (results, readme)}
    for path in sorted(RESULTS.glob("*/table.md")):
        tables = path.read_text(encoding="utf-8").strip().split("\n\n", 1)[1]
        if path.parent.name == GRID:
            first, tables = parted(tables, TITLE)
            written[results] = replaced(written[results], "results", first)
        written[results] = replaced(written[results], path.parent.name, tables)
    written[readme] = replaced(written[readme], "results", readme_table(scores(GRID)))
    return written


def scores(name: str) -> list[dict[str, str]]:
    """Return the rows of a comparison's CSV."""
    with (RESULTS / name / "results.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def readme_table(rows: Sequence[dict[str, str]]) -> str:
    """Return noise x methods: macro-F1, mean ± standard deviation over seeds."""

    def cell(noise: str, method: str) -> str:
        return mean_and_spread(
            [float(row["macro_f1"]) for row in rows if (row["noise"], row["method"]) == (noise, method)]
        )

    head = ["wrong labels", *README_METHODS.values()]
    lines = [[title, *(cell(noise, method) for method in README_METHODS)] for noise, title in README_NOISES.items()]
    return "\n".join([_line(head), "|---|" + "---:|" * len(README_METHODS), *map(_line, lines)])


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def parted(tables: str, title: str) -> tuple[str, str]:
    """Return the first table, which must have a title that ends like this, without the title; and all others."""
    head, table, others = tables.split("\n\n", 2)
    if not head.endswith(f"{title}**"):
        raise ValueError(f"expected a first table with the title {title!r}, got {head!r}")
    return table, others


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
