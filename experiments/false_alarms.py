"""How often the watch names an honest site: many small honest federations, on seeds that chose nothing.

`python -m experiments.false_alarms --data ../shared/data --work <folder>` runs what is not in
`experiments/false_alarms.csv` yet, appends each run as it ends, and writes the table into docs/results.md; `--tables`
writes it alone. The setting is that of `poison.py`, its seeds are others.
"""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from scipy.stats import binomtest

from experiments.document import ROOT, replaced, table
from experiments.poison import HONEST, PAGE, ROUNDS, SET, Cell
from experiments.poison_replay import append
from experiments.small_federations import SPLITS, bundles_in, small_federation
from mdhfl.jobs import RECIPES
from mdhfl.runs.folder import RunOptions, create_run
from mdhfl.runs.inprocess import run_in_process
from mdhfl.server.journal import read_rows
from mdhfl.server.rows import stood_out_in
from mdhfl.showing.sheets import read_csv

FOUND, MARK = ROOT / "experiments" / "false_alarms.csv", "honest federations"
SEEDS = range(200, 213)
FIELDS = ("split", "seed", "looked_at", "false_alarms", "said")
SURE = 0.95


@click.command()
@click.option("--data", type=click.Path(path_type=Path), help="Folder with the real images.")
@click.option("--work", type=click.Path(path_type=Path), help="Folder for what is made on the way.")
@click.option("--tables", is_flag=True, help="Write the table and run nothing.")
def main(*, data: Path | None, work: Path | None, tables: bool) -> None:
    """Run what is missing, and write the table."""
    if not tables:
        if data is None or work is None:
            raise click.UsageError("give --data and --work, or --tables")
        for cell in cells():
            if (cell.split, str(cell.seed)) not in {(row["split"], row["seed"]) for row in found()}:
                append(FOUND, FIELDS, [run(cell, data=data, work=work)])
    PAGE.write_text(page(), encoding="utf-8")


def cells() -> Iterator[Cell]:
    """Yield the runs, a federation of every kind for each seed."""
    for seed in SEEDS:
        for split in SPLITS:
            yield Cell(split=split, seed=seed, attack=HONEST, defence="mean")


def run(cell: Cell, *, data: Path, work: Path) -> dict[str, Any]:
    """Run an honest federation, and return in how many rounds of its sites the watch named one, and why."""
    federation = small_federation(cell.split, seed=cell.seed, sites=cell.sites, data=data, work=work)
    folder = work / "runs" / f"{cell.split}-{cell.seed}"
    shutil.rmtree(folder, ignore_errors=True)
    options = RunOptions(
        federation=federation, bundles=bundles_in(work / "bundles"), seed=cell.seed, rounds=ROUNDS, changes=SET
    )
    run_in_process(folder, experiment=create_run(folder, recipe=RECIPES["mdhfl_plus"], options=options))
    rows = read_rows(folder / "results.jsonl")
    for place in (folder, federation):
        shutil.rmtree(place)
    return {"split": cell.split, "seed": cell.seed, **alarms_in(rows)}


def alarms_in(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return how many rows the watch has judged, in how many it named the site, and what it said."""
    said = {(row["round"], row["site"]): stood_out_in([row]).get("stood_out", []) for row in rows}
    named = [f"round {number}, {site}: {out[0]['reason']}" for (number, site), out in said.items() if out]
    return {
        "looked_at": sum(row.get("watch", {}).get("agreement") is not None for row in rows),
        "false_alarms": len(named),
        "said": "; ".join(named),
    }


def found() -> list[dict[str, str]]:
    """Return the rows that there are."""
    return read_csv(FOUND) if FOUND.is_file() else []


def page() -> str:
    """Return what docs/results.md should say."""
    return replaced(PAGE.read_text(encoding="utf-8"), MARK, alarm_table(found()))


def alarm_table(rows: Sequence[Mapping[str, str]]) -> str:
    """Return, by kind of federation and for all together, how often an honest site was named."""
    lines = [["federation", "federations", "with an alarm", "rounds of sites", "alarms", "share", "surely below"]]
    for title, splits in (*((named(split), [split]) for split in SPLITS), ("all", list(SPLITS))):
        own = [row for row in rows if row["split"] in splits]
        looked, alarms = (sum(int(row[name]) for row in own) for name in ("looked_at", "false_alarms"))
        if looked:
            struck = sum(int(row["false_alarms"]) > 0 for row in own)
            share, most = f"{alarms / looked:.2%}", f"{upper_bound(alarms, looked):.2%}"
            lines.append([title, str(len(own)), str(struck), str(looked), str(alarms), share, most])
    return table(lines)


def upper_bound(count: int, of: int) -> float:
    """Return the upper end of the exact one-sided 95 % interval of a share (Clopper and Pearson, 1934)."""
    return float(binomtest(count, of, alternative="less").proportion_ci(SURE, method="exact").high)


def named(split: str) -> str:
    """Return what a kind of federation is called in the documents."""
    return split if split == "IID" else f"Dirichlet {split}"


if __name__ == "__main__":
    main()
