"""`mdhfl compare`: methods x federations x noise x seeds, from a short YAML file to a table."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

HELP = """Run every method on every federation, noise and seed that FILE names, and write the table.

Runs what is missing. After an interruption, rerun the same command to continue: a finished run is never repeated, not
even for another FILE with the same --work.

\b
FILE, in YAML:
  question: Does sharing help against wrong labels?
  rounds: 8
  seeds: [0, 1]
  set: {warm_up_epochs: 1}               # for every method that has it
  prepare: {source: acevedo20, raw: acevedo20_64px.zip, label_space: cytomorphology13, per_site: 800,
            public: matek19, public_raw: matek19_tiles_108px.zip}
  federations: {IID: {split: iid}, Dirichlet 0.5: {split: dirichlet, alpha: 0.5}}
  noise: {none: {}, symmetric 0.2: {noise: symmetric, noise_rate: 0.2}}
  methods:
    local: {recipe: local}
    MDH-FL, CE weight 1: {recipe: mdhfl, set: {ce_weight: 1.0}}

\b
Examples:
  mdhfl compare experiments/noise_grid.yaml --data ../shared/data --out results/
  mdhfl compare experiments/noise_grid.yaml --table-only --out results/     # of what is finished so far
"""


@click.command(name="compare", help=HELP, short_help="Compare methods on the same data: table, figure, CSV.")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for table, figure and CSV.")
@click.option("--data", type=click.Path(path_type=Path), default=Path(), help="Folder of the raw data.  [default: .]")
@click.option(
    "--work",
    type=click.Path(path_type=Path),
    default=Path("runs"),
    show_default=True,
    help="Folder for federations, decoded images and runs; may serve several comparisons.",
)
@click.option("--workers", type=click.IntRange(min=1), help="Runs at a time.  [default: one per core]")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda or cuda:N.")
@click.option("--table-only", is_flag=True, help="Run nothing; write the table of what is finished.")
def compare_command(
    file: Path, *, out: Path, data: Path, work: Path, workers: int | None, device: str, table_only: bool
) -> None:
    """See HELP."""
    import os

    from mdhfl.comparison.grid import read_comparison
    from mdhfl.comparison.runs import Workplace, default_threads, finished
    from mdhfl.comparison.table import Found

    comparison = read_comparison(file)
    workers = workers or os.cpu_count() or 1
    place = Workplace(data=data.resolve(), work=work.resolve(), threads=default_threads(workers), device=device)
    try:
        failures = {} if table_only else _run(comparison.cells, place=place, workers=workers)
    except KeyboardInterrupt:
        raise click.ClickException(
            "interrupted; finished runs and rounds are kept: rerun the same command to continue"
        ) from None
    records = {cell: finished(cell, place) for cell in comparison.cells}
    found = [Found(cell=cell, record=record) for cell, record in records.items() if record is not None]
    if found:
        _write(out, comparison.question, found)
    for reason in dict.fromkeys(failures.values()):
        failed = [cell for cell, why in failures.items() if why == reason]
        where = f"{failed[0].federation}, {failed[0].noise}, seed {failed[0].seed}"
        click.echo(f"failed: {', '.join(cell.method for cell in failed)} on {where}: {reason}", err=True)
    click.echo(f"{len(found)} of {len(comparison.cells)} runs finished; results: {out}")
    if failures or not found:
        raise SystemExit(1)


def _run(cells: Any, *, place: Any, workers: int) -> Mapping[Any, str]:
    """Run what is missing, with a bar that says how much time is left."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    from mdhfl.comparison.runs import finished, run_all
    from mdhfl.comparison.table import Found

    missing = [cell for cell in cells if finished(cell, place) is None]
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left:"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), speed_estimate_period=3600) as bar:
        task = bar.add_task(f"{len(cells) - len(missing)} runs were there", total=len(missing))

        def on_result(cell: Any, record: Mapping[str, Any]) -> None:
            score = Found(cell=cell, record=record).score("macro_f1")
            what = f"{cell.method} on {cell.federation}, {cell.noise}, seed {cell.seed}"
            bar.console.print(f"{what}: macro-F1 {score:.1f}, {record['wall_seconds']:.0f} s", highlight=False)
            bar.update(task, advance=1, description="comparing")

        return run_all(missing, place=place, workers=workers, on_result=on_result)


def _write(out: Path, question: str, found: Any) -> None:
    from rich.console import Console
    from rich.markdown import Markdown

    from mdhfl.comparison.figure import draw
    from mdhfl.comparison.table import markdown, rows_of, site_rows_of, to_csv

    out.mkdir(parents=True, exist_ok=True)
    text = markdown(question, found)
    (out / "results.csv").write_text(to_csv(rows_of(found)), encoding="utf-8")
    (out / "sites.csv").write_text(to_csv(site_rows_of(found)), encoding="utf-8")
    (out / "table.md").write_text(text, encoding="utf-8")
    draw(found, out / "figure.svg")
    question, first, *_ = text.split("\n\n**")
    Console().print(Markdown(f"{question}\n\n**{first}"))
