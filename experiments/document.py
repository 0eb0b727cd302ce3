"""Put the comparisons' tables into docs/results.md and the README: `python -m experiments.document`.

Reads what `mdhfl compare experiments/<name>.yaml --out experiments/results/<name>` wrote, and replaces what stands
between `<!-- name -->` and `<!-- /name -->` in the documents: docs/results.md gets every `table.md`, the README a few
of the scores in one `results.csv`.
"""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import mean

from mdhfl.comparison.columns import MAIN
from mdhfl.comparison.table import mean_and_spread
from mdhfl.showing.sheets import read_csv

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "experiments" / "results"
HEADLINE = "headline"
README_METHODS = {  # title in the comparison -> in the README
    "local CE": "every site alone",
    "local, balanced and averaged": "alone, strongest",
    "FedMD": "FedMD",
    "MDH-FL": "MDH-FL",
    "MDH-FL+": "MDH-FL+",
}
README_FEDERATIONS = {
    "Dirichlet 0.1": "hardly any class in common (Dirichlet 0.1)",
    "Dirichlet 0.5": "different classes (Dirichlet 0.5)",
    "IID": "the same classes",
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
        written[results] = replaced(written[results], path.parent.name, tables)
    written[readme] = replaced(written[readme], "results", readme_table(scores(HEADLINE)))
    return written


def scores(name: str) -> list[dict[str, str]]:
    """Return the rows of a comparison's CSV."""
    return read_csv(RESULTS / name / "results.csv")


def readme_table(rows: Sequence[dict[str, str]]) -> str:
    """Return federations x methods: macro-F1, mean ± standard deviation over seeds, the best in bold."""

    def cells(federation: str) -> list[str]:
        found = {
            method: [float(row[MAIN]) for row in rows if (row["federation"], row["method"]) == (federation, method)]
            for method in README_METHODS
        }
        best = max(found, key=lambda method: mean(found[method]))
        texts = {method: mean_and_spread(values) for method, values in found.items()}
        return [f"**{text}**" if method == best else text for method, text in texts.items()]

    head = ["sites have", *README_METHODS.values()]
    lines = [[title, *cells(federation)] for federation, title in README_FEDERATIONS.items()]
    return table([head, *lines])


def table(lines: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; the first line is its head, the first column its titles."""
    head, *others = lines
    return "\n".join([_line(head), "|---|" + "---:|" * (len(head) - 1), *map(_line, others)])


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


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
