"""A plan: a method with its published hyper-parameters, waiting for a federation. `jobs/` holds one per file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from mdhfl.methods import create
from mdhfl.rounds.experiment import Experiment


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a recipe chooses.

    Attributes:
        name: of the recipe, as in `mdhfl run NAME`.
        summary: one line for `--help`.
        method: name of the method.
        parameters: all its hyper-parameters.
        rounds: number of rounds after the warm-up.
    """

    name: str
    summary: str
    method: str
    parameters: Mapping[str, Any]
    rounds: int

    def experiment(
        self,
        federation: Mapping[str, Any],
        *,
        id_: str,
        seed: int,
        rounds: int | None = None,
        changes: Mapping[str, Any] | None = None,
        min_sites: int | None = None,
    ) -> Experiment:
        """Put the plan on a federation.

        Args:
            federation: the content of federation.json.
            id_: the experiment's id.
            seed: of all random numbers.
            rounds: instead of the plan's.
            changes: hyper-parameters instead of the plan's.
            min_sites: usable answers that a round needs; two, or one if there is only one site, if not given.

        Raises:
            ValueError: a hyper-parameter is unknown or out of range.
        """
        sites = tuple(federation["sites"])
        parameters = {**self.parameters, **(changes or {})}
        create(self.method, parameters)
        return Experiment(
            id=id_,
            method=self.method,
            parameters=parameters,
            rounds=self.rounds if rounds is None else rounds,
            seed=seed,
            sites=sites,
            min_sites=min(2, len(sites)) if min_sites is None else min_sites,
            classes=tuple(federation["classes"]),
            public_digest=federation["public"]["digest"],
            public_count=federation["public"]["count"],
        )


def parse_changes(pairs: Sequence[str]) -> dict[str, Any]:
    """Read "name=value" pairs; values are numbers, true, false or text.

    Raises:
        ValueError: a pair has no equals sign.
    """
    changes = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise ValueError(f"--set: expected NAME=VALUE, got {pair!r}; for example --set local_epochs=2")
        changes[name.strip()] = yaml.safe_load(value)
    return changes
