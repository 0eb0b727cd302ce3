"""A comparison: methods x federations x noise x seeds, read from a short YAML file into the runs that it needs."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from mdhfl.comparison.identity import federation_name, run_name
from mdhfl.comparison.sweep import variants
from mdhfl.files import check_against_schema
from mdhfl.jobs import RECIPES
from mdhfl.learning.bundle import find_bundle
from mdhfl.learning.bundle_changes import PREFIX, split_changes, with_prefix
from mdhfl.methods import Method, changed, parameters_of
from mdhfl.preprocessing.arguments import PrepareArguments
from mdhfl.preprocessing.inputs import with_defaults
from mdhfl.runs.folder import BUILT_IN_BUNDLES
from mdhfl.runs.recipe import Recipe, recipe_of
from mdhfl.showing.texts import one_line

NO_NOISE = {"none": {"noise": "none"}}
NOISE_ARGUMENTS = ("noise", "noise_rate", "noise_matrix")  # of `prepare`
BELOW_DATA = ("raw", "public_raw", "labels")  # arguments of `prepare` that are files of the data folder
LISTS = ("also", "classes", "noise_rate", "crop")  # arguments of `prepare` that are tuples


@dataclass(frozen=True, kw_only=True, eq=False)
class Cell:
    """One run of a comparison.

    Attributes:
        federation, noise, method: titles as in the file.
        seed: of the federation and of the run.
        arguments: of `prepare`, but for its folder.
        recipe: the method's.
        changes: hyper-parameters instead of the recipe's, and, as "bundle.<name>", instead of the bundles'.
        rounds: after the warm-up.
        bundles: assigned to the sites in order, repeating.
    """

    federation: str
    noise: str
    method: str
    seed: int
    arguments: Mapping[str, Any]
    recipe: Recipe
    changes: Mapping[str, Any]
    rounds: int
    bundles: tuple[str, ...]

    @cached_property
    def method_used(self) -> Method:
        """The method, with all its hyper-parameters."""
        return changed(self.recipe.method, split_changes(self.changes)[0])

    @cached_property
    def bundle_changes(self) -> dict[str, Any]:
        """What is changed of the bundles' training."""
        return split_changes(self.changes)[1]

    @cached_property
    def settings(self) -> dict[str, Any]:
        """All hyper-parameters by the names that `--set` knows: the method's, then what is changed of the bundles."""
        return {**parameters_of(self.method_used), **with_prefix(self.bundle_changes)}

    @property
    def title(self) -> str:
        """Which run it is, for people."""
        return f"{self.method} on {self.federation}, {self.noise}, seed {self.seed}"

    @cached_property
    def federation_folder(self) -> str:
        """Name of the federation's folder: equal for all runs on the same data."""
        return federation_name(self.arguments)

    @cached_property
    def run_folder(self) -> str:
        """Name of the run's folder: equal only if everything is that decides its numbers."""
        name = run_name(
            method=self.method_used,
            arguments=self.arguments,
            rounds=self.rounds,
            bundles=self.bundles,
            bundle_changes=self.bundle_changes,
        )
        return f"{self.federation_folder}/{name}"

    def prepare_arguments(self, *, data: Path, out: Path) -> PrepareArguments:
        """Return the arguments of `prepare`; files are below the data folder."""
        values = dict(self.arguments)
        for name in BELOW_DATA:
            if values.get(name) is not None:
                values[name] = data / values[name]
        for name in LISTS:
            if name in values:
                values[name] = tuple(values[name]) if isinstance(values[name], list) else (values[name],)
        if "also" in values:
            named = (one.partition("=") for one in values["also"])
            values["also"] = tuple(f"{source}={data / raw}" for source, _, raw in named)
        if values.get("noise_matrix") is not None:
            values["noise_matrix"] = Path(values["noise_matrix"])
        return PrepareArguments(**values, out=out)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What a file asks for.

    Attributes:
        question: what it is to answer.
        cells: every run, seed by seed, so that an early stop leaves a table.
    """

    question: str
    cells: tuple[Cell, ...]


def read_comparison(path: Path) -> Comparison:
    """Read and check a comparison.

    Raises:
        ValueError: not YAML, not after `meta/schemas/comparison.schema.json`, no such recipe, hyper-parameter or
            argument of `prepare`, or a method that cannot work on these federations.
    """
    try:
        asked = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not YAML ({error})") from error
    check_against_schema(asked, schema="comparison", what=str(path))
    _check_noise(asked, what=str(path))
    cells = tuple(_cells(asked, what=str(path)))
    counts = Counter((cell.federation, cell.noise, cell.method, cell.seed) for cell in cells)
    if twice := sorted({method for (_, _, method, _), count in counts.items() if count > 1}):
        raise ValueError(f"{path}: two methods are called {twice[0]!r}; give one of them another title")
    for cell in {(c.federation, c.noise, c.method): c for c in cells}.values():
        _check(cell, what=str(path))
    return Comparison(question=asked["question"], cells=cells)


def _check_noise(asked: Mapping[str, Any], *, what: str) -> None:
    """Refuse wrong labels that are asked for elsewhere than under `noise`, whose names head the tables' columns."""
    places = {"prepare": asked["prepare"], **{f"federations/{name}": own for name, own in asked["federations"].items()}}
    for place, given in places.items():
        if found := sorted(set(given or {}) & set(NOISE_ARGUMENTS)):
            raise ValueError(
                f"{what}: {place}/{found[0]}: expected under noise, which names the tables' columns, for example "
                '"noise: {symmetric 0.2: {noise: symmetric, noise_rate: 0.2}}"'
            )


def _cells(asked: Mapping[str, Any], *, what: str) -> Iterator[Cell]:
    bundles = tuple(asked.get("bundles", BUILT_IN_BUNDLES))
    methods = list(_methods(asked, what=what))
    for seed in asked["seeds"]:
        for federation, own in asked["federations"].items():
            for noise, noisy in asked.get("noise", NO_NOISE).items():
                arguments = {**asked["prepare"], **(own or {}), **(noisy or {}), "seed": seed}
                for method, recipe, changes in methods:
                    yield Cell(
                        federation=one_line(federation),
                        noise=one_line(noise),
                        method=one_line(method),
                        seed=seed,
                        arguments=arguments,
                        recipe=recipe,
                        changes=changes,
                        rounds=asked["rounds"],
                        bundles=bundles,
                    )


def _methods(asked: Mapping[str, Any], *, what: str) -> Iterator[tuple[str, Recipe, dict[str, Any]]]:
    """Yield title, recipe and hyper-parameters of each method; one with lists of values is several."""
    for title, chosen in asked["methods"].items():
        recipe = _recipe(chosen["recipe"], what=f"{what}: methods/{title}")
        common = {
            name: value
            for name, value in asked.get("set", {}).items()
            if name.startswith(PREFIX) or hasattr(recipe.method, name)
        }
        try:
            for one, changes in variants(title, chosen.get("set", {}), common=common):
                yield one, recipe, changes
        except ValueError as error:
            raise ValueError(f"{what}: methods/{title}: {error}") from error


def _recipe(name: str, *, what: str) -> Recipe:
    try:
        return recipe_of(name, recipes=RECIPES)
    except ValueError as error:
        raise ValueError(f"{what}: {error}") from error


def _check(cell: Cell, *, what: str) -> None:
    """Find what cannot work before anything starts."""
    known = {field.name for field in fields(PrepareArguments)} - {"out", "overwrite"}
    if unknown := sorted(set(cell.arguments) - known):
        raise ValueError(f"{what}: `prepare` has no {', '.join(unknown)}; it has: {', '.join(sorted(known))}")
    try:
        for bundle in cell.bundles:
            find_bundle(bundle)
        full = with_defaults(cell.prepare_arguments(data=Path(), out=Path()))
        cell.method_used.check_federation(
            bundles={f"site-{i + 1}": cell.bundles[i % len(cell.bundles)] for i in range(int(full.sites or 0))},
            validation=full.server_validation,
        )
    except (ValueError, TypeError) as error:
        raise ValueError(f"{what}: {cell.method} on {cell.federation}, {cell.noise}: {error}") from error
