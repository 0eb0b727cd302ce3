"""Recipes are found by their names, and methods from elsewhere by their import path."""

import sys
from pathlib import Path

import pytest

from mdhfl.jobs import RECIPES
from mdhfl.methods import METHODS, name_of
from mdhfl.methods.parameters import parameters_of
from mdhfl.runs.recipe import Recipe, parse_changes, recipe_of

OWN = """
from dataclasses import dataclass
from typing import ClassVar
from mdhfl.methods.local import Local

@dataclass(frozen=True, kw_only=True)
class Own{number}(Local):
    title: ClassVar[str] = "own"
    rounds: ClassVar[int] = 3
"""


def test_every_method_has_a_recipe_and_every_recipe_a_method() -> None:
    assert {name_of(recipe.method) for recipe in RECIPES.values()} == set(METHODS)
    assert list(RECIPES) == sorted(RECIPES)


def test_a_recipe_takes_from_its_method_what_it_does_not_say() -> None:
    recipe = Recipe(method=METHODS["fedmd"]())
    assert (recipe.name, recipe.rounds) == ("fedmd", 40)
    assert recipe.summary == METHODS["fedmd"].summary


def test_every_hyper_parameter_says_what_it_means_and_what_it_may_be() -> None:
    for name, method in METHODS.items():
        for one in parameters_of(method):
            assert one.meaning, f"{name}.{one.name}"
            assert one.range, f"{name}.{one.name}"
            assert isinstance(one.default, one.kind)


def test_a_method_from_elsewhere_is_named_by_its_import_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_method_1.py").write_text(OWN.format(number=1))
    monkeypatch.syspath_prepend(tmp_path)
    recipe = recipe_of("own_method_1:Own1", recipes=RECIPES)
    assert (recipe.name, recipe.rounds, type(recipe.method).__name__) == ("own_method_1:Own1", 3, "Own1")
    sys.modules.pop("own_method_1")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("fedmagic", "no recipe 'fedmagic'; there are: centralised, centralised_plus, fedavg"),
        ("no_such_module:Own", "module 'no_such_module' cannot be imported"),
    ],
)
def test_what_there_is_not_is_refused(name: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        recipe_of(name, recipes=RECIPES)


def test_changes_are_read_as_numbers_truth_and_text() -> None:
    pairs = ["local_epochs=2", "grouped=true", "ce_weight=0.5", "loss=sce"]
    assert parse_changes(pairs) == {"local_epochs": 2, "grouped": True, "ce_weight": 0.5, "loss": "sce"}
    with pytest.raises(ValueError, match="expected NAME=VALUE, got 'local_epochs'; for example"):
        parse_changes(["local_epochs"])
