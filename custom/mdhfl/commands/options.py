"""What `mdhfl run` and `mdhfl poc` have in common: the options that say what is run, wherever that is."""

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

from mdhfl.runs.folder import BUILT_IN_BUNDLES, RunOptions
from mdhfl.runs.recipe import parse_changes
from mdhfl.sharing.watch import MODES, TELL

POLICY = (
    click.option(
        "--defence",
        "defences",
        multiple=True,
        metavar="NAME=VALUE",
        help="What a site's answers say less precisely: temperature=2, top_k=3, confidence=0.9, answered=0.5, "
        "precision=4, rounds=5; repeatable.",
    ),
    click.option(
        "--privacy",
        multiple=True,
        metavar="NAME=VALUE",
        help="A site's budget of differential privacy: epsilon=8 delta=1e-5 and, if you like, clipping=1 and rounds=8, "
        "for which the noise is chosen; one each time.",
    ),
)
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
    *POLICY,
)


def experiment_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command these options."""
    for option in reversed(EXPERIMENT):
        command = option(command)
    return command


def policy_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of a site's policy."""
    for option in reversed(POLICY):
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
        defences=policy_of(chosen["defences"], option="--defence"),
        privacy=policy_of(chosen["privacy"], option="--privacy"),
        **{name: chosen[name] for name in ("federation", "rounds", "seed", "min_sites", "watch", "threads", "device")},
    )


def changes_of(chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Return the hyper-parameters that are not the recipe's."""
    return parse_changes(chosen["pairs"]) | ({"control": True} if chosen["control"] else {})


def policy_of(pairs: Sequence[str], *, option: str) -> dict[str, Any]:
    """Return a part of a site's policy by name. Raises ValueError: a pair that has no equals sign."""
    return parse_changes(pairs, option=option)


def bundles_of(chosen: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the bundles that are given to the sites in order."""
    return tuple(name.strip() for name in chosen["bundles"].split(",") if name.strip())
