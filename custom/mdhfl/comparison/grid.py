"""A comparison: methods x federations x noise x seeds, read from a short YAML file into the runs that it needs."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from mdhfl.files import check_against_schema
from mdhfl.jobs import RECIPES
from mdhfl.methods import Method, changed, name_of, parameters_of
from mdhfl.preprocessing.arguments import PrepareArguments
from mdhfl.runs.folder import BUILT_IN_BUNDLES
from mdhfl.runs.recipe import Recipe, recipe_of
from mdhfl.showing.texts import one_line

NO_NOISE = {"none": {"noise": "none"}}
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
        changes: hyper-parameters instead of the recipe's.
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
        return changed(self.recipe.method, self.changes)

    @cached_property
    def federation_folder(self) -> str:
        """Name of the federation's folder: equal for all runs on the same data."""
        return f"{_slug(self.federation)}-{_slug(self.noise)}-seed{self.seed}-{_digest(self.arguments)}"

    @cached_property
    def run_folder(self) -> str:
        """Name of the run's folder: equal only if everything is that decides its numbers."""
        method = self.method_used
        decides = [self.arguments, name_of(method), parameters_of(method), self.rounds, self.bundles]
        return f"{self.federation_folder}/{_slug(self.method)}-{_digest(decides)}"

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
    cells = tuple(_cells(asked, what=str(path)))
    for cell in {(c.federation, c.noise, c.method): c for c in cells}.values():
        _check(cell, what=str(path))
    return Comparison(question=asked["question"], cells=cells)


def _cells(asked: Mapping[str, Any], *, what: str) -> Iterator[Cell]:
    bundles = tuple(asked.get("bundles", BUILT_IN_BUNDLES))
    for seed in asked["seeds"]:
        for federation, own in asked["federations"].items():
            for noise, noisy in asked.get("noise", NO_NOISE).items():
                arguments = {**asked["prepare"], **(own or {}), **(noisy or {}), "seed": seed}
                for method, chosen in asked["methods"].items():
                    recipe = _recipe(chosen["recipe"], what=f"{what}: methods/{method}")
                    common = {k: v for k, v in asked.get("set", {}).items() if hasattr(recipe.method, k)}
                    yield Cell(
                        federation=one_line(federation),
                        noise=one_line(noise),
                        method=one_line(method),
                        seed=seed,
                        arguments=arguments,
                        recipe=recipe,
                        changes={**common, **chosen.get("set", {})},
                        rounds=asked["rounds"],
                        bundles=bundles,
                    )


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
        sites = int(cell.arguments.get("sites") or 4)
        cell.method_used.check_federation(
            bundles={f"site-{i + 1}": cell.bundles[i % len(cell.bundles)] for i in range(sites)},
            validation=int(cell.arguments.get("server_validation", 0)),
        )
        cell.prepare_arguments(data=Path(), out=Path())
    except (ValueError, TypeError) as error:
        raise ValueError(f"{what}: {cell.method} on {cell.federation}, {cell.noise}: {error}") from error


def _digest(values: Any) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()[:8]


def _slug(title: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "_", title.lower()).strip("_") or "unnamed"
