"""A recipe: a method with its published hyper-parameters, waiting for a federation. `jobs/` holds one per file."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from mdhfl.methods import Method, changed, class_of, name_of
from mdhfl.rounds.experiment import Experiment, digest_of_federation
from mdhfl.sharing.watch import TELL

EXAMPLES = {
    "--set": "--set local_epochs=2",
    "--defence": "--defence top_k=3",
    "--privacy": "--privacy epsilon=8 --privacy delta=1e-5",
}
NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?[eE][+-]?[0-9]+")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What a file in `jobs/` chooses.

    Attributes:
        method: with all its hyper-parameters.
        name: as in `mdhfl run NAME`; the method's if empty.
        summary: one line for `--help`; the method's if empty.
        rounds: number of rounds after the warm-up; the published number if 0.
    """

    method: Method
    name: str = ""
    summary: str = ""
    rounds: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.name or name_of(self.method))
        object.__setattr__(self, "summary", self.summary or self.method.summary)
        object.__setattr__(self, "rounds", self.rounds or self.method.rounds)

    def experiment(
        self,
        federation: Mapping[str, Any],
        *,
        identity: str,
        seed: int,
        rounds: int | None = None,
        changes: Mapping[str, Any] | None = None,
        min_sites: int | None = None,
        watch: str = TELL,
    ) -> Experiment:
        """Put the recipe on a federation.

        Args:
            federation: the content of federation.json.
            identity: the experiment's id.
            seed: of all random numbers.
            rounds: instead of the recipe's.
            changes: hyper-parameters instead of the recipe's.
            min_sites: usable answers that a round needs; two, or one if there is only one site, if not given.
            watch: what follows where a site's knowledge stands out, one of `sharing.watch.MODES`.

        Raises:
            ValueError: a hyper-parameter is unknown or out of range.
        """
        sites = tuple(federation["sites"])
        return Experiment(
            id=identity,
            method=changed(self.method, changes or {}),
            rounds=self.rounds if rounds is None else rounds,
            seed=seed,
            sites=sites,
            min_sites=min(2, len(sites)) if min_sites is None else min_sites,
            classes=tuple(federation["classes"]),
            public_digest=federation["public"]["digest"],
            public_count=federation["public"]["count"],
            watch=watch,
            federation_digest=digest_of_federation(federation),
            training_images={site: card["training"] for site, card in federation["sites"].items()},
        )


def recipe_of(name: str, *, recipes: Mapping[str, Recipe]) -> Recipe:
    """Return a recipe by its name, or one of a method from elsewhere, named "package.module:Class".

    The module is imported: naming it is trusting it.

    Raises:
        ValueError: there is no such recipe or method.
    """
    if name in recipes:
        return recipes[name]
    module, colon, _ = name.partition(":")
    if not colon:
        raise ValueError(
            f"no recipe {name!r}; there are: {', '.join(recipes)}, or your own method as package.module:Class"
        )
    return Recipe(method=class_of(name, trusted=(module,))(), name=name)


def parse_changes(pairs: Sequence[str], *, option: str = "--set") -> dict[str, Any]:
    """Read "name=value" pairs; values are numbers, true, false or text.

    Args:
        pairs: as typed.
        option: that they were given to, for the message.

    Raises:
        ValueError: a pair has no equals sign.
    """
    changes = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise ValueError(f"{option}: expected NAME=VALUE, got {pair!r}; for example {EXAMPLES[option]}")
        changes[name.strip()] = plain_value(yaml.safe_load(value))
    return changes


def plain_value(value: Any) -> Any:
    """Return a value of YAML, with 3e-4 as the number that YAML takes for a text since it has no point."""
    return float(value) if isinstance(value, str) and NUMBER.fullmatch(value) else value
