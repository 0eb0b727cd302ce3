"""`mdhfl poc`: one recipe in FLARE's POC mode, from the kits to the report, in one command."""

import logging
from pathlib import Path
from typing import Any

import click

from mdhfl.commands.options import experiment_options, options_of
from mdhfl.commands.run import RunCommand
from mdhfl.reports.terminal import print_scores, progress_bar
from mdhfl.runs.folder import create_run, run_lock
from mdhfl.runs.recipe import recipe_of
from mdhfl.showing.terminal import say

HELP = """Rehearse a consortium on this machine: FLARE's own server and sites, with the kits and policies of production.

Makes startup kits, starts a server and the sites, submits the recipe as a job, follows it, downloads its results,
writes a report, and ends every process, also after Ctrl-C or a failure. Uses the folder --out and one free port of
loopback, nothing else: several may run at once. The scores are those of `mdhfl run`.

\b
Examples:
  mdhfl poc --federation fed/ --out runs/poc
  mdhfl poc mdhfl --federation fed/ --sites 2 --rounds 1 --set local_epochs=1 --out runs/poc

RECIPE is one of those below, or a method of your own as package.module:Class.  [default: mdhfl_plus]
"""


@click.command(
    name="poc", cls=RunCommand, help=HELP, short_help="Rehearse with FLARE's server and sites on this machine."
)
@click.argument("recipe_name", metavar="[RECIPE]", default="mdhfl_plus")
@click.option("--federation", type=click.Path(path_type=Path), required=True, help="Folder from `mdhfl prepare`.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for results, report and kits.")
@click.option("--sites", type=click.IntRange(min=1), help="Only the first so many of the federation's sites.")
@experiment_options
def poc_command(recipe_name: str, *, out: Path, sites: int | None, **chosen: Any) -> None:
    """See HELP."""
    from mdhfl.api import naming_logs
    from mdhfl.flare.poc import check_poc_can_take
    from mdhfl.flare.rehearsal import rehearse
    from mdhfl.jobs import RECIPES
    from mdhfl.reports.write import write_report
    from mdhfl.store.sealed import read_sealed_json

    logging.getLogger().addHandler(logging.NullHandler())  # else FLARE's warnings stand between our lines
    recipe = recipe_of(recipe_name, recipes=RECIPES)
    check_poc_can_take(out)
    experiment = create_run(out, recipe=recipe, options=options_of(chosen, engine="flare", sites=sites))
    try:
        with run_lock(out), naming_logs(out):
            rehearse(out, experiment=experiment, say=say, watch=progress_bar(experiment))
    except KeyboardInterrupt:
        raise click.ClickException(
            f"interrupted; server and sites are ended. What they wrote is in {out / 'poc'}; start again with another "
            "--out"
        ) from None
    page = write_report([out], out=out / "report")
    print_scores([read_sealed_json(out / "summary.json")])
    say(f"server and sites are ended; results: {out}    report: {page}")
