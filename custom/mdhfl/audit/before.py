"""What a site would give away, predicted from a short run of its own, before anything leaves it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from mdhfl.audit.audit import SHADOWS, Audit, audit
from mdhfl.audit.evidence import Recorder
from mdhfl.runs.folder import RunOptions, create_run
from mdhfl.runs.inprocess import run_in_process
from mdhfl.runs.recipe import Recipe

ROUNDS = 2
DRY = (
    "predicted from a dry run of this site alone: what it learns from others later makes its answers like theirs, and "
    "more rounds make it remember more"
)


def predict(
    federation: Path,
    *,
    recipe: Recipe,
    out: Path,
    rounds: int = ROUNDS,
    shadows: int = SHADOWS,
    on_site: Callable[[str], None] = lambda name: None,
) -> Audit:
    """Train the first site of a federation for a few rounds, and audit what it would have sent.

    Args:
        federation: of the site: what `mdhfl prepare ... --sites 1` wrote, or a whole one, whose first site is taken.
        recipe: what the consortium means to run.
        out: folder for the dry run and its audit.
        rounds: of the dry run, after the warm-up.
        shadows: as `audit`.
        on_site: as `audit`.

    Raises:
        ValueError: as `create_run`: the method wants several sites, the folder holds a run already.
    """
    options = RunOptions(federation=federation, sites=1, rounds=rounds, command=f"a dry run of {recipe.name}")
    experiment = create_run(out, recipe=recipe, options=options)
    run_in_process(out, experiment=experiment, on_answer=Recorder(out))
    found = audit(out, shadows=shadows, on_site=on_site)
    return replace(found, predicted=True, notes=(DRY, *found.notes))
