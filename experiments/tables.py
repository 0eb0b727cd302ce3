"""Write the comparisons' tables and figures again from their committed scores: `python -m experiments.tables`.

Reads `results.csv` and `sites.csv` of `experiments/results/<name>` and writes what `mdhfl compare` writes: `table.md`,
and the figures, which stay out of git; `docs/figures` keeps those that the documents show.
"""

import shutil
from pathlib import Path

from experiments.document import RESULTS, ROOT
from mdhfl.comparison.columns import COLUMNS, OWN
from mdhfl.comparison.compare import write_tables
from mdhfl.comparison.curves import write_curves
from mdhfl.comparison.grid import Cell, read_comparison
from mdhfl.comparison.table import Found
from mdhfl.showing.sheets import read_csv

SHOWN = {  # figure of a comparison -> its name in docs/figures
    "headline/figure.svg": "headline.svg",
    "headline/rounds.svg": "headline_rounds.svg",
    "gain_by_noise/figure.svg": "gain_by_noise.svg",
}
FIGURES = ROOT / "docs" / "figures"

Run = tuple[str, ...]  # federation, noise, method, seed
Row = dict[str, str]


def main() -> None:
    """Write every table and figure, and keep the figures that the documents show."""
    for folder in sorted(RESULTS.iterdir()):
        comparison = read_comparison(ROOT / "experiments" / f"{folder.name}.yaml")
        write_tables(folder, comparison.question, runs_of(folder))
        if (folder / "rounds.csv").is_file():
            write_curves(read_csv(folder / "rounds.csv"), folder)
    for name, figure in SHOWN.items():
        shutil.copy(RESULTS / name, FIGURES / figure)


def runs_of(folder: Path) -> list[Found]:
    """Return the runs of a comparison in its order, as its CSV files tell them."""
    runs = {_run(row): row for row in read_csv(folder / "results.csv")}
    sites: dict[Run, dict[str, Row]] = {}
    for row in read_csv(folder / "sites.csv"):
        sites.setdefault(_run(row), {})[row["site"]] = row
    cells = read_comparison(ROOT / "experiments" / f"{folder.name}.yaml").cells
    asked = {cell: (cell.federation, cell.noise, cell.method, str(cell.seed)) for cell in cells}
    return [_found(cell, runs[run], sites[run]) for cell, run in asked.items() if run in runs]


def _run(row: Row) -> Run:
    return row["federation"], row["noise"], row["method"], row["seed"]


def _found(cell: Cell, run: Row, sites: dict[str, Row]) -> Found:
    """Return a run as `compare` knew it, but for its scores' further decimals."""
    rounds = cell.rounds + 1
    mean = {
        "ece": float(run["calibration_error"]) / 100,
        "seconds": float(run["seconds_per_site"]),
        "bytes_up": rounds * float(run["bytes_up_per_site_and_round"]),
        "bytes_down": rounds * float(run["bytes_down_per_site_and_round"]),
    }
    own = {site: _scores(row, own=True) for site, row in sites.items()}
    return Found(
        cell=cell,
        record={
            "summary": {"rounds": cell.rounds, "mean": mean, "sites": own},
            "on_all": {site: _scores(row, own=False) for site, row in sites.items()},
            "wall_seconds": float(run["wall_seconds"]),
            "peak_memory": float(run["peak_memory_mib"]) * 2**20,
        },
    )


def _scores(row: Row, *, own: bool) -> dict[str, float]:
    """Return the scores that a site has, each from 0 to 1."""
    wanted = [name for name, column in COLUMNS.items() if column.own is own and row.get(name)]
    return {name.removeprefix(OWN): float(row[name]) / 100 for name in wanted}


if __name__ == "__main__":
    main()
