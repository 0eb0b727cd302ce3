"""`mdhfl watch`: which sites stand out in an experiment, and what the operator decides about them."""

from pathlib import Path

import click

from mdhfl.runs.folder import read_record, results_in
from mdhfl.server.decisions import decide, read_decisions
from mdhfl.server.journal import read_journal
from mdhfl.server.rows import stood_out_in, whole_rounds
from mdhfl.showing.terminal import say


@click.command(name="watch", short_help="Show which sites' answers stand out, and decide whether they are trusted.")
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--trust", "trusted", multiple=True, metavar="SITE", help="Let a site count in full; repeatable.")
@click.option("--aside", multiple=True, metavar="SITE", help="Let a site teach nobody; repeatable.")
def watch_command(folder: Path, *, trusted: tuple[str, ...], aside: tuple[str, ...]) -> None:
    """Show which sites' answers stand out, round by round, and decide whether they are trusted.

    FOLDER is a run's folder, an experiment's below "experiments" in the server's kit, or, to look at only, that of a
    downloaded job. A decision holds from the next round on, also of a run that is under way, and until another one is
    made.

    \b
    Examples:
      mdhfl watch runs/a
      mdhfl watch runs/a --trust site-3
    """
    place = results_in(folder)
    if place != folder and (trusted or aside):
        raise ValueError(
            f"{folder}: a downloaded job, where a decision reaches nobody; decide at the server, in the experiment's "
            'folder below "experiments" in its kit'
        )
    sites = tuple(read_record(place)["sites"])
    decisions = decide(place, sites=sites, trusted=trusted, aside=aside) if trusted or aside else read_decisions(place)
    rows, _ = read_journal(place / "results.jsonl")
    rows = whole_rounds(rows, sites=sites)
    quiet = True
    for site in sites:
        found = stood_out_in([row for row in rows if row["site"] == site])
        for one in found.get("stood_out", ()):
            say(f"round {one['round']}, {site}: {one['reason']}")
        state = "put aside" if found.get("aside") else ""
        if site in decisions:
            state = f"{state or 'as the watch has it'}; decided: {decisions[site]}"
        if state:
            say(f"{site}: {state}")
        quiet = quiet and not (found or state)
    if quiet:
        say("no site stands out")
