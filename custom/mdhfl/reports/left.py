"""The table of what left a site."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from mdhfl.showing.console import open_console
from mdhfl.site.left import sums_of

NARROWEST = 120  # characters: in a log file, where there is no terminal to fit, nothing is folded


def print_left(folder: Path, lines: Sequence[dict[str, Any]]) -> None:
    """Print what left of each field, over all messages, and the totals.

    Args:
        folder: of the site's state in the experiment, for the title.
        lines: of its left.jsonl.
    """
    rounds = sorted({line["round"] for line in lines})
    span = f"rounds {rounds[0]} to {rounds[-1]}, " if rounds else ""
    table = Table(title=Text(f"{folder}: {span}{len(lines)} messages"), title_justify="left")
    for name in ("to", "field", "kind", "of the last"):
        table.add_column(name, overflow="fold")
    for name in ("messages", "bytes"):
        table.add_column(name, justify="right", no_wrap=True)
    sums = sums_of(lines)
    for each in sums:
        cells = (each.to, each.path, each.kind, each.form)
        table.add_row(*cells, f"{each.messages:,}", f"{each.bytes:,}")
    for to in dict.fromkeys(each.to for each in sums):
        sent = [line for line in lines if (line["to"] == "server") == (to == "server")]
        total = sum(line["bytes"] for line in sent)
        table.add_section()
        table.add_row(to, Text("all", style="bold"), "", "", f"{len(sent):,}", Text(f"{total:,}", style="bold"))
    policy = list(dict.fromkeys("; ".join(line.get("defences", ())) or "none" for line in lines))
    table.caption = Text(f"defences as it left: {' | then: '.join(policy)}")
    table.caption_justify = "left"
    open_console(narrowest=NARROWEST).print(table)
