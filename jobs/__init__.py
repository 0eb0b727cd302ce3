"""One short recipe per experiment: a method with its published hyper-parameters, and a number of rounds.

Every module here that defines a `RECIPE` is found by itself. May import `methods` and `runs`.
"""

import importlib
import pkgutil

from mdhfl.runs.recipe import Recipe


def _find() -> dict[str, Recipe]:
    modules = [importlib.import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__)]
    recipes: list[Recipe] = [module.RECIPE for module in modules]
    return {recipe.name: recipe for recipe in sorted(recipes, key=lambda recipe: recipe.name)}


RECIPES: dict[str, Recipe]


def __getattr__(name: str) -> dict[str, Recipe]:
    """Find the recipes when they are asked for first: `python -m mdhfl.jobs.mdhfl` must not import itself before."""
    if name != "RECIPES":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = found = _find()
    return found
