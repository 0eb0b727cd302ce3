"""`mdhfl compare`: methods x federations x noise x seeds, from a short YAML file to a table."""

import signal
from pathlib import Path

import click

from mdhfl.showing.terminal import say

HELP = """Run every method on every federation, noise and seed that FILE names, and write the table.

Checks everything first (recipes, raw data, a training step with every bundle), lists the runs, and runs what is
missing. After an interruption, rerun the same command to continue: a finished run is never repeated, not even for
another FILE with the same --work.

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
    MDH-FL: {recipe: mdhfl, set: {ce_weight: [0.1, 1.0], bundle.learning_rate: 3e-4}}  # a list is a method per value

\b
Examples:
  mdhfl compare experiments/rivals.yaml --data ../shared/data --out results/
  mdhfl compare experiments/rivals.yaml --table-only --out results/     # of what is finished so far
"""


@click.command(name="compare", help=HELP, short_help="Compare methods on the same data: table, figure, CSV.")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for table, figure and CSV.")
@click.option("--data", type=click.Path(path_type=Path), default=Path(), help="Folder of the raw data.  [default: .]")
@click.option(
    "--work",
    type=click.Path(path_type=Path),
    default=Path("comparisons"),
    show_default=True,
    help="Folder for federations, decoded images and runs; may serve several comparisons.",
)
@click.option(
    "--executor",
    type=click.Choice(["local", "slurm"]),
    default="local",
    show_default=True,
    help="Run on this machine, or as jobs of a Slurm cluster (docs/rivals.md).",
)
@click.option("--workers", type=click.IntRange(min=1), help="Runs at a time.  [default: one per core]")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda or cuda:N.")
@click.option("--table-only", is_flag=True, help="Run nothing; write the table of what is finished.")
def compare_command(
    file: Path,
    *,
    out: Path,
    data: Path,
    work: Path,
    executor: str,
    workers: int | None,
    device: str,
    table_only: bool,
) -> None:
    """See HELP."""
    from rich.markdown import Markdown

    from mdhfl.comparison.compare import compare
    from mdhfl.showing.console import open_console

    try:
        done = compare(
            file,
            out=out,
            data=data,
            work=work,
            executor=executor,
            workers=workers,
            device=device,
            table_only=table_only,
            progress=True,
        )
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # it ends already
        message = "interrupted; finished runs and rounds are kept: rerun the same command to continue"
        raise click.ClickException(message) from None
    if done.found:
        question, first, *_ = done.tables.split("\n\n**")
        open_console().print(Markdown(f"{question}\n\n**{first}", hyperlinks=False))
    for reason in dict.fromkeys(done.failures.values()):
        failed = [cell for cell, why in done.failures.items() if why == reason]
        where = f"{failed[0].federation}, {failed[0].noise}, seed {failed[0].seed}"
        say(f"failed: {', '.join(cell.method for cell in failed)} on {where}: {reason}", error=True)
    say(f"{len(done.found)} of {done.asked} runs finished; results: {out}")
    if done.failures or not done.found:
        raise SystemExit(1)
