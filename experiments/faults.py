"""Put what `make faults` measured into docs/reliability.md: `python -m experiments.faults`.

Reads `experiments/faults.csv`, one row a fault, as `tests/flare/test_faults.py` wrote it.
"""

from experiments.document import ROOT, replaced
from mdhfl.showing.sheets import read_csv

MEASURED = ROOT / "experiments" / "faults.csv"
PAGE = ROOT / "docs" / "reliability.md"
HEAD = ("fault", "detected after", "whole again after", "lost", "what the operator reads")


def main() -> None:
    """Write the table into the page."""
    PAGE.write_text(page(), encoding="utf-8")


def page() -> str:
    """Return what the page should say."""
    lines = [_cells(row) for row in read_csv(MEASURED)]
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in (HEAD, ("---",) * len(HEAD), *lines))
    return replaced(PAGE.read_text(encoding="utf-8"), "faults", table)


def _cells(row: dict[str, str]) -> tuple[str, ...]:
    reads = row["reads"].replace("|", "\\|")
    return row["fault"], f"{row['detected_seconds']} s", f"{row['whole_seconds']} s", row["lost"], f"`{reads}`"


if __name__ == "__main__":
    main()
