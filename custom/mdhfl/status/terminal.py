"""The status of experiments as lines and tables of a terminal, of at most 80 columns where names are short."""

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from mdhfl.showing.console import open_console
from mdhfl.showing.terminal import say
from mdhfl.showing.texts import one_line
from mdhfl.status.quantities import UNKNOWN, ago, in_phases, in_score
from mdhfl.status.record import Status

NARROWEST = 120  # characters: in a log file, where there is no terminal to fit, nothing is folded
SCORES = (("accuracy", "accuracy"), ("macro_f1", "macro-F1"))


def print_status(found: Sequence[Status]) -> None:
    """Print the newest experiment in full; before it, where there are several, a line for each."""
    console = open_console(narrowest=NARROWEST)
    if len(found) > 1:
        console.print(_overview(found))
    newest = found[0]
    say(f"{newest.experiment}: {newest.state}. {newest.headline}")
    for note in newest.notes:
        say(f"note: {note}")
    for label, value in {"last sign of life": ago(newest.changed), **newest.facts}.items():
        say(f"{label}: {value}")
    if newest.sites:
        console.print(_sites(newest))
    for refused in newest.refusals:
        say(f"no result in round {refused.round}, {refused.site}: {refused.reason}")


def _overview(found: Sequence[Status]) -> Table:
    table = Table(title="Experiments, the last changed first", title_justify="left")
    for name in ("experiment", "state", "round", "changed"):
        table.add_column(name, overflow="fold")
    for status in found:
        table.add_row(*(_cell(text) for text in (status.experiment, status.state, status.round, ago(status.changed))))
    return table


def _sites(status: Status) -> Table:
    table = Table()
    for name in ("site", "state"):
        table.add_column(name, overflow="fold")
    for name in ("round", *(short for _, short in SCORES)):
        table.add_column(name, justify="right")
    table.add_column("seconds", overflow="fold")
    for site in status.sites:
        scores = [in_score(site.scores.get(name)) for name, _ in SCORES]
        last = UNKNOWN if site.round is None else str(site.round)
        cells = (site.name, site.standing, last, *scores, in_phases(site.seconds))
        table.add_row(*(_cell(text) for text in cells))
    return table


def _cell(text: str) -> Text:
    return Text(one_line(text))
