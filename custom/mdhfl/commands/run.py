"""`mdhfl run`: one recipe on one federation, in FLARE's simulator or in process."""

from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from mdhfl.commands.options import bundles_of, changes_of, experiment_options, options_of, policy_of
from mdhfl.reports.terminal import print_scores
from mdhfl.rounds.experiment import Experiment
from mdhfl.runs.checks import check_policy, modules_of
from mdhfl.runs.folder import site_settings_path
from mdhfl.runs.recipe import recipe_of
from mdhfl.runs.resume import resume_run
from mdhfl.server.tracking import TRACKERS
from mdhfl.showing.terminal import say
from mdhfl.site.settings import read_site_settings

HELP = """Run a recipe on a federation and print the scores on the clean test images.

\b
Examples:
  mdhfl run mdhfl --federation fed/ --out runs/a
  mdhfl run mdhfl --federation fed/ --engine inprocess --rounds 8 --set local_epochs=1 --seed 0 --out runs/b
  mdhfl run local --federation fed/ --bundles shufflenet_v2,my_bundles/vit --out runs/c
  mdhfl run mdhfl --federation fed/ --out runs/a --resume        # continue after an interruption
  mdhfl run mdhfl --federation fed/ --out runs/d --set bundle.learning_rate=3e-4 --set bundle.batch_size=32
  mdhfl run mdhfl --help                                         # what --set changes

RECIPE is one of those below, or a method of your own as package.module:Class.
"""


class RunCommand(click.Command):
    """Its help lists the recipes, or the hyper-parameters of the one that stands before `--help`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta["asked"] = next((word for word in args if not word.startswith("-")), None)
        return super().parse_args(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from mdhfl.commands.methods import ELSEWHERE, parameter_lines
        from mdhfl.jobs import RECIPES

        super().format_options(ctx, formatter)
        recipe = RECIPES.get(ctx.meta.get("asked") or "")
        if recipe is None:
            with formatter.section("Recipes"):
                formatter.write_dl([(each.name, each.summary) for each in RECIPES.values()])
            return
        with formatter.section(f"Hyper-parameters of {recipe.name} (--set NAME=VALUE)"):
            formatter.write_dl(parameter_lines(recipe))
        formatter.write_paragraph()
        formatter.write_text(ELSEWHERE)


@click.command(name="run", cls=RunCommand, help=HELP, short_help="Train a federation with one method.")
@click.argument("recipe_name", metavar="RECIPE")
@click.option("--federation", type=click.Path(path_type=Path), required=True, help="Folder from `mdhfl prepare`.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for the results.")
@click.option(
    "--engine",
    type=click.Choice(["flare", "inprocess"]),
    default="flare",
    show_default=True,
    help="FLARE's simulator (one process per site), or plain calls, with as many processes as cores. Equal results.",
)
@experiment_options
@click.option(
    "--track",
    type=click.Choice(TRACKERS),
    help="Send the scores to MLflow or Weights & Biases as they come (engine flare; TensorBoard has them anyway).",
)
@click.option(
    "--resume",
    is_flag=True,
    help="Continue the run in --out; more --rounds, another --min-sites or --watch are possible, other changes "
    "refused.",
)
def run_command(recipe_name: str, *, out: Path, engine: str, resume: bool, **chosen: Any) -> None:
    """See HELP."""
    from mdhfl.api import create, execute
    from mdhfl.jobs import RECIPES

    recipe = recipe_of(recipe_name, recipes=RECIPES)
    if resume:
        said = {
            "engine": engine,
            "bundles": bundles_of(chosen),
            **{name: chosen[name] for name in ("seed", "threads", "device", "track")},
            "defences": policy_of(chosen["defences"], option="--defence"),
            "privacy": policy_of(chosen["privacy"], option="--privacy"),
        }
        asked = {
            "recipe": recipe.name,
            "federation": str(chosen["federation"].resolve()),
            "parameters": changes_of(chosen),
            **{name: value for name, value in said.items() if _was_typed(name)},
        }
        free = {"rounds": chosen["rounds"], "min_sites": chosen["min_sites"]}
        free["watch"] = chosen["watch"] if _was_typed("watch") else None
        experiment = resume_run(out, asked=asked, trusted=modules_of(recipe.method), **free)
    else:
        experiment = create(out, recipe=recipe, options=options_of(chosen, engine=engine))
    if not resume and chosen["privacy"]:
        _say_plans(out, experiment)
    try:
        finished = execute(out, experiment=experiment)
    except KeyboardInterrupt:
        raise click.ClickException(
            f"interrupted; every finished round is kept. Continue with: mdhfl run {recipe_name} "
            f"--federation {chosen['federation']} --out {out} --resume"
        ) from None
    print_scores([finished.summary])
    for site, values in finished.summary["sites"].items():
        for found in values.get("stood_out", [])[:1]:
            say(f"{site} stood out from round {found['round']} on: {found['reason']}    see: mdhfl watch {out}")
    say(f"results: {out}    next: mdhfl report {out} --out report/")


def _say_plans(out: Path, experiment: Experiment) -> None:
    """Tell what the budgets will be spent on, before anything is trained."""
    sites = {site: read_site_settings(site_settings_path(out, site)) for site in experiment.sites}
    for site, plan in check_policy(sites, experiment).items():
        say(f"{site}: {'; '.join(sites[site].policy)}; {plan.in_words()}")


def _was_typed(option: str) -> bool:
    return click.get_current_context().get_parameter_source(option) is ParameterSource.COMMANDLINE
