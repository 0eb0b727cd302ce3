"""Draw the comparisons' figures again from their committed scores: `python -m experiments.figures`.

Reads `experiments/results/<name>/sites.csv` and writes `figure.svg` beside it, as `mdhfl compare` does. These stay out
of git; `docs/figures` keeps the one that the documents show.
"""

import csv
import shutil
from pathlib import Path

from experiments.document import RESULTS, ROOT
from mdhfl.comparison.figure import draw
from mdhfl.comparison.grid import read_comparison
from mdhfl.comparison.table import Found

METRIC = "macro_f1"
SHOWN = "noise_grid"
SHOWN_FIGURE = ROOT / "docs" / "figures" / f"{SHOWN}.svg"

Scores = dict[tuple[str, ...], dict[str, dict[str, float]]]  # run -> site -> metric -> share


def main() -> None:
    """Draw every figure and keep the one that the documents show."""
    for folder in sorted(RESULTS.iterdir()):
        draw(runs_of(folder), folder / "figure.svg", metric=METRIC)
    shutil.copy(RESULTS / SHOWN / "figure.svg", SHOWN_FIGURE)


def runs_of(folder: Path) -> list[Found]:
    """Return the runs of a comparison in its order, with the scores that a figure needs."""
    scores = read_scores(folder / "sites.csv")
    cells = read_comparison(ROOT / "experiments" / f"{folder.name}.yaml").cells
    runs = {cell: (cell.federation, cell.noise, cell.method, str(cell.seed)) for cell in cells}
    return [Found(cell=cell, record={"on_all": scores[run]}) for cell, run in runs.items() if run in scores]


def read_scores(path: Path) -> Scores:
    """Return each run's scores by site, as shares."""
    scores: Scores = {}
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            run = (row["federation"], row["noise"], row["method"], row["seed"])
            scores.setdefault(run, {})[row["site"]] = {METRIC: float(row[METRIC]) / 100}
    return scores


if __name__ == "__main__":
    main()
