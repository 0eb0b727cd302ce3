"""What `mdhfl run` and `mdhfl poc` have in common: the options that say what is run, wherever that is."""

import sys
from collections.abc import Callable, Mapping
from typing import Any

import click

from mdhfl.runs.folder import BUILT_IN_BUNDLES, RunOptions
from mdhfl.runs.recipe import parse_changes
from mdhfl.sharing.watch import MODES, TELL

EXPERIMENT = (
    click.option("--rounds", type=click.IntRange(min=1), help="Rounds after the warm-up; the recipe's if not given."),
    click.option("--set", "pairs", multiple=True, metavar="NAME=VALUE", help="Change a hyper-parameter; repeatable."),
    click.option(
        "--control",
        is_flag=True,
        help="Let each site train a twin alone beside, to tell what sharing brings it (mdhfl_plus; --set "
        "control=true).",
    ),
    click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Random seed."),
    click.option(
        "--bundles",
        default=",".join(BUILT_IN_BUNDLES),
        show_default=True,
        help="Assigned to sites in order, repeating: built-in names, or paths of your own (a bundle is code: "
        "trust it).",
    ),
    click.option("--min-sites", type=click.IntRange(min=1), help="Minimum valid replies per round.  [default: 2]"),
    click.option(
        "--watch",
        type=click.Choice(MODES),
        default=TELL,
        show_default=True,
        help="Where a site's answers stand out from the others': tell it, weigh it less, or put it aside until "
        "`mdhfl watch` decides.",
    ),
    click.option(
        "--threads",
        type=click.IntRange(min=1),
        default=1,
        show_default=True,
        help="CPU threads per site. More than one may change the scores, and in process lets sites work one after "
        "another.",
    ),
    click.option("--device", default="cpu", show_default=True, help="cpu, cuda or cuda:N."),
)


def experiment_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command these options."""
    for option in reversed(EXPERIMENT):
        command = option(command)
    return command


def options_of(chosen: Mapping[str, Any], *, engine: str, sites: int | None = None) -> RunOptions:
    """Return what a command was asked for by these options and `--federation`."""
    return RunOptions(
        engine=engine,
        sites=sites,
        changes=changes_of(chosen),
        bundles=bundles_of(chosen),
        command=" ".join(["mdhfl", *sys.argv[1:]]),
        **{name: chosen[name] for name in ("federation", "rounds", "seed", "min_sites", "watch", "threads", "device")},
    )


def changes_of(chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Return the hyper-parameters that are not the recipe's."""
    return parse_changes(chosen["pairs"]) | ({"control": True} if chosen["control"] else {})


def bundles_of(chosen: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the bundles that are given to the sites in order."""
    return tuple(name.strip() for name in chosen["bundles"].split(",") if name.strip())
