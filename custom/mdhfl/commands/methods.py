"""`mdhfl methods`: what there is to run, and what can be set."""

from typing import Any

import click
from rich.table import Table

from mdhfl.jobs import RECIPES
from mdhfl.methods.parameters import Parameter, parameters_of
from mdhfl.runs.recipe import Recipe, recipe_of
from mdhfl.showing.console import open_console

ELSEWHERE = (
    "Learning rate, batch size, optimiser and augmentation are the bundles' own (configs/train.yaml); a run changes "
    "them for all its sites: --set bundle.learning_rate=3e-4, bundle.batch_size=32, bundle.optimizer=SGD, "
    "bundle.optimizer.momentum=0.9, bundle.augmentation=false."
)


@click.command(name="methods", short_help="List the methods, or one method's hyper-parameters.")
@click.argument("name", required=False)
def methods_command(name: str | None) -> None:
    """List the recipes of `mdhfl run`; with NAME, every hyper-parameter that `--set` changes.

    \b
    Examples:
      mdhfl methods
      mdhfl methods mdhfl
      mdhfl methods my_package.my_method:MyMethod
    """
    console = open_console(narrowest=140)
    if name is None:
        console.print(_overview())
        return
    recipe = recipe_of(name, recipes=RECIPES)
    method = recipe.method
    console.print(f"{recipe.name}: {recipe.summary}")
    console.print(f"A site shares {method.shares or 'nothing'}. Source: {method.citation or 'this project'}.")
    console.print(_parameters(recipe))
    console.print(f"Rounds: {recipe.rounds} (--rounds). {ELSEWHERE}")


def parameter_lines(recipe: Recipe) -> list[tuple[str, str]]:
    """Return what `--set` changes, for a definition list: name and default, meaning and range."""
    return [
        (f"{one.name}={value}", f"{one.meaning}; {one.range}" if one.range else one.meaning)
        for one, value in _values(recipe)
    ]


def _values(recipe: Recipe) -> list[tuple[Parameter, Any]]:
    return [(one, getattr(recipe.method, one.name)) for one in parameters_of(recipe.method)]


def _overview() -> Table:
    table = Table(title="Recipes of `mdhfl run`", title_justify="left")
    for column in ("recipe", "what it does", "a site shares"):
        table.add_column(column, overflow="fold")
    for recipe in RECIPES.values():
        table.add_row(recipe.name, recipe.summary, recipe.method.shares or "nothing")
    return table


def _parameters(recipe: Recipe) -> Table:
    table = Table(title="--set NAME=VALUE", title_justify="left")
    for column in ("name", "default", "range", "meaning"):
        table.add_column(column, overflow="fold")
    for one, value in _values(recipe):
        table.add_row(one.name, str(value), one.range, one.meaning)
    return table
