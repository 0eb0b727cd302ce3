"""Put the comparisons' tables into docs/results.md and the README: `python -m experiments.document`.

Reads `experiments/results/<name>/table.md`, as `mdhfl compare experiments/<name>.yaml --out experiments/results/<name>`
wrote it, and replaces what stands between `<!-- name -->` and `<!-- /name -->` in the documents.
"""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "experiments" / "results"
README_TABLE = ("noise_grid", "macro-F1 on the test images of all sites")  # comparison, and which of its tables


def main() -> None:
    """Write every table that is there into the documents."""
    for folder in sorted(path for path in RESULTS.iterdir() if (path / "table.md").is_file()):
        text = (folder / "table.md").read_text(encoding="utf-8").strip()
        write(ROOT / "docs" / "results.md", folder.name, text.split("\n\n", 1)[1])
    name, title = README_TABLE
    write(ROOT / "README.md", "results", table_of((RESULTS / name / "table.md").read_text(encoding="utf-8"), title))


def table_of(text: str, title: str) -> str:
    """Return the first table below a title."""
    return text[text.index(title) :].split("\n\n")[1].strip()


def write(path: Path, name: str, table: str) -> None:
    """Replace what stands between the marks of a name."""
    text = path.read_text(encoding="utf-8")
    pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    if not pattern.search(text):
        raise ValueError(f"{path}: expected the marks <!-- {name} --> and <!-- /{name} -->")
    path.write_text(pattern.sub(lambda found: found[1] + table + "\n" + found[2], text), encoding="utf-8")


if __name__ == "__main__":
    main()
