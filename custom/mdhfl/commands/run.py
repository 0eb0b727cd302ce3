"""`mdhfl run`: one recipe on one federation, in FLARE's simulator or in process."""

import sys
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from mdhfl.reports.terminal import print_scores
from mdhfl.runs.folder import BUILT_IN_BUNDLES, RunOptions, modules_of
from mdhfl.runs.recipe import parse_changes, recipe_of
from mdhfl.runs.resume import resume_run
from mdhfl.showing.terminal import say

HELP = """Run a recipe on a federation and print the scores on the clean test images.

\b
Examples:
  mdhfl run mdhfl --federation fed/ --out runs/a
  mdhfl run mdhfl --federation fed/ --engine inprocess --rounds 8 --set local_epochs=1 --seed 0 --out runs/b
  mdhfl run local --federation fed/ --bundles shufflenet_v2,my_bundles/vit --out runs/c
  mdhfl run mdhfl --federation fed/ --out runs/a --resume        # continue after an interruption
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
@click.option("--rounds", type=click.IntRange(min=1), help="Rounds after the warm-up; the recipe's if not given.")
@click.option("--set", "pairs", multiple=True, metavar="NAME=VALUE", help="Change a hyper-parameter; repeatable.")
@click.option(
    "--control",
    is_flag=True,
    help="Let each site train a twin alone beside, to tell what sharing brings it (mdhfl_plus; --set control=true).",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Random seed.")
@click.option(
    "--bundles",
    default=",".join(BUILT_IN_BUNDLES),
    show_default=True,
    help="Assigned to sites in order, repeating: built-in names, or paths of your own (a bundle is code: trust it).",
)
@click.option("--min-sites", type=click.IntRange(min=1), help="Minimum valid replies per round.  [default: 2]")
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="CPU threads per site. More than one may change the scores, and in process lets sites work one after another.",
)
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda or cuda:N.")
@click.option(
    "--resume",
    is_flag=True,
    help="Continue the run in --out; more --rounds and another --min-sites are possible, other changes refused.",
)
def run_command(recipe_name: str, *, out: Path, engine: str, rounds: int | None, resume: bool, **chosen: Any) -> None:
    """See HELP."""
    from mdhfl.api import create, execute
    from mdhfl.jobs import RECIPES

    recipe = recipe_of(recipe_name, recipes=RECIPES)
    changes = parse_changes(chosen.pop("pairs")) | ({"control": True} if chosen.pop("control") else {})
    bundles = tuple(name.strip() for name in chosen.pop("bundles").split(",") if name.strip())
    if resume:
        said = {"engine": engine, "bundles": bundles, **{name: chosen[name] for name in ("seed", "threads", "device")}}
        asked = {
            "recipe": recipe.name,
            "federation": str(chosen["federation"].resolve()),
            "parameters": changes,
            **{name: value for name, value in said.items() if _was_typed(name)},
        }
        trusted = modules_of(recipe.method)
        experiment = resume_run(out, asked=asked, rounds=rounds, min_sites=chosen["min_sites"], trusted=trusted)
    else:
        options = RunOptions(
            engine=engine,
            rounds=rounds,
            changes=changes,
            bundles=bundles,
            command=" ".join(["mdhfl", *sys.argv[1:]]),
            **chosen,
        )
        experiment = create(out, recipe=recipe, options=options)
    try:
        finished = execute(out, experiment=experiment)
    except KeyboardInterrupt:
        raise click.ClickException(
            f"interrupted; every finished round is kept. Continue with: mdhfl run {recipe_name} "
            f"--federation {chosen['federation']} --out {out} --resume"
        ) from None
    print_scores([finished.summary])
    say(f"results: {out}    next: mdhfl report {out} --out report/")


def _was_typed(option: str) -> bool:
    return click.get_current_context().get_parameter_source(option) is ParameterSource.COMMANDLINE
