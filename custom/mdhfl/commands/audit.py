"""`mdhfl audit`: what a run gave away, measured by attacks on what was really sent."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mdhfl.showing.terminal import say

if TYPE_CHECKING:
    from mdhfl.audit.audit import Audit

EXAMPLES = """
\b
A run on this machine:
  mdhfl audit runs/a
\b
At a site, with its own images; nothing leaves it:
  mdhfl audit /srv/mdhfl/state/mdhfl_plus-0-d2294f3b --public /srv/mdhfl/public
\b
A server's folder of an experiment, or a downloaded job, where the images of a
rehearsal are at hand:
  mdhfl audit download/ --federation fed/
\b
Before a site takes part: train it alone for a moment, and audit that:
  mdhfl audit --before own/ --out runs/dry
"""
FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)


@click.command(name="audit", epilog=EXAMPLES, short_help="Measure what a run gave away, by attacks on what was sent.")
@click.argument("run", required=False, type=click.Path(path_type=Path))
@click.option("--federation", type=FOLDER, help="Where the private images lie, if RUN does not say it.")
@click.option("--public", type=FOLDER, help="The public set's folder, for a site's own RUN.")
@click.option("--site", "sites", multiple=True, help="Audit this site only; repeatable.")
@click.option(
    "--shadows",
    type=click.IntRange(min=0),
    default=8,
    show_default=True,
    help="Shadow models for each site, an even number; 0 for the uncalibrated attack alone.",
)
@click.option("--before", type=FOLDER, help="Predict instead, from a dry run on this federation's first site.")
@click.option("--method", default="mdhfl_plus", show_default=True, help="With --before: the recipe.")
@click.option("--rounds", type=click.IntRange(min=1), default=2, show_default=True, help="With --before: of the run.")
@click.option("--out", type=click.Path(path_type=Path), help="With --before: folder for the dry run.")
def audit_command(
    run: Path | None,
    federation: Path | None,
    public: Path | None,
    sites: tuple[str, ...],
    shadows: int,
    before: Path | None,
    method: str,
    rounds: int,
    out: Path | None,
) -> None:
    """Measure what a run gave away, by attacks on what was really sent.

    RUN is a folder that `mdhfl run` wrote, a server's folder of an experiment, the download of a FLARE job, or a
    site's own, below "state" in site.json. How well can each site's label distribution be told, which images were
    trained on, and what do they look like? Which counts left? The table's colours are explained in docs/privacy.md.

    audit.json is written into RUN (with --before: into --out), and `mdhfl report RUN` shows it. What shadow models
    said is kept in the folder audit/ beside it, so that a second audit takes seconds.
    """
    from mdhfl.extras import require

    require("audit", what="an audit")
    if (run is None) == (before is None):
        raise ValueError("expected RUN, a run's folder, or --before FEDERATION; give one of the two")
    from mdhfl.audit.audit import audit
    from mdhfl.audit.record import write_audit
    from mdhfl.audit.table import print_audit

    def on_site(name: str) -> None:
        say(f"{name}: {shadows} shadow models", error=True)

    if before is not None:
        if out is None:
            raise ValueError("--before: give a new folder for the dry run with --out")
        found = _predicted(before, method=method, rounds=rounds, out=out, shadows=shadows, on_site=on_site)
    else:
        assert run is not None
        found = audit(run, federation=federation, public=public, sites=sites, shadows=shadows, on_site=on_site)
    print_audit(found)
    say(f"audit: {write_audit(found)}")


def _predicted(
    before: Path, *, method: str, rounds: int, out: Path, shadows: int, on_site: Callable[[str], None]
) -> "Audit":
    from mdhfl.audit.before import predict
    from mdhfl.jobs import RECIPES
    from mdhfl.runs.recipe import recipe_of

    recipe = recipe_of(method, recipes=RECIPES)
    return predict(before, recipe=recipe, rounds=rounds, out=out, shadows=shadows, on_site=on_site)
