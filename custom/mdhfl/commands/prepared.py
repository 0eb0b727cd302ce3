"""What `mdhfl prepare` prints: what was understood, and what came out, in tables that fit the terminal."""

from collections.abc import Collection, Mapping
from typing import Any

from rich.table import Table

from mdhfl.files import read_json
from mdhfl.preprocessing.look import Look
from mdhfl.preprocessing.prepare import Prepared
from mdhfl.showing.console import InertConsole
from mdhfl.showing.texts import one_line

PARTS = ("training", "validation", "test")
WIDEST = 10_000  # characters: no table is cut when its width is asked for

Cards = Mapping[str, Mapping[str, Any]]


def print_look(seen: Look, *, console: InertConsole) -> None:
    """Print what was understood of the raw data."""
    for line in seen.lines:
        console.print(f"{one_line(line.what)}: {one_line(line.found)}", soft_wrap=True)
    console.print(f"nothing was prepared; a few pictures of each class: {one_line(seen.sheet)}", soft_wrap=True)


def print_summary(prepared: Prepared, *, console: InertConsole, told: Collection[str] = ()) -> None:
    """Print images by class and site, label noise as realised, what was left out, and the notes not told before."""
    federation = prepared.federation
    cards = {site: read_json(prepared.folder / "sites" / site / "card.json") for site in federation["sites"]}
    table = _one_table(federation, cards)
    if console.measure(table, options=console.options.update(width=WIDEST)).maximum <= console.width:
        console.print(table)
    else:
        console.print(_table_of_sites(federation, cards))
        console.print(_table_of_classes(federation, cards))
    console.print(f"public set: {federation['public']['count']} images, digest {federation['public']['digest'][:16]}")
    dropped = sum(federation.get("dropped", {}).values())
    console.print(
        f"left out: {federation['skipped']} files ({federation['duplicates']} of them duplicates), "
        f"{dropped} outside the label space, {federation.get('unused', 0)} not needed"
    )
    if alike := federation.get("alike", {}).get("images", 0):
        facts = federation["alike"]
        console.print(
            f"nearly identical: {alike} images, kept on one side; {facts['moved']} moved, {facts['left_out']} left out"
        )
    for origin, facts in federation.get("reading", {}).items():
        if facts["read_as"]:
            read_as = ", ".join(f"{said}: {count}" for said, count in facts["read_as"].items())
            console.print(f"pictures of {one_line(origin)}: {one_line(read_as)}")
    for note in federation.get("notes", []):
        if note not in told:
            console.print(f"note: {one_line(note)}")
    done = "up to date" if prepared.up_to_date else f"written in {prepared.seconds:.1f} s"
    console.print(f"{done}: {one_line(prepared.folder)}; see its overview folder")


def _one_table(federation: Mapping[str, Any], cards: Cards) -> Table:
    table = Table(title=f"{federation['name']}: images per site (training / validation / test)")
    _add_names(table, "class")
    for site in cards:
        table.add_column(site, justify="right", no_wrap=True)
    for name in federation["classes"]:
        table.add_row(name, *(_slashed(_of_class(card, name)) for card in cards.values()))
    table.add_section()
    table.add_row("all", *(_slashed(one) for one in federation["sites"].values()))
    table.add_row("label noise", *(_noise_text(card["noise"]) for card in cards.values()))
    return table


def _table_of_sites(federation: Mapping[str, Any], cards: Cards) -> Table:
    table = Table(title=f"{federation['name']}: images per site")
    _add_names(table, "site")
    _add_numbers(table, *PARTS, "label noise", "classes")
    for site, card in cards.items():
        here = sum(any(_of_class(card, name).values()) for name in federation["classes"])
        numbers = [str(federation["sites"][site][part]) for part in PARTS]
        table.add_row(site, *numbers, _noise_text(card["noise"]), f"{here} of {len(federation['classes'])}")
    return table


def _table_of_classes(federation: Mapping[str, Any], cards: Cards) -> Table:
    table = Table(title=f"{federation['name']}: images per class, all sites together")
    _add_names(table, "class")
    _add_numbers(table, *PARTS, "at sites")
    for name in federation["classes"]:
        counts = [_of_class(card, name) for card in cards.values()]
        sums = [str(sum(one[part] for one in counts)) for part in PARTS]
        table.add_row(name, *sums, f"{sum(any(one.values()) for one in counts)} of {len(cards)}")
    return table


def _add_names(table: Table, title: str) -> None:
    """A column of names, broken where they are too long: cut off, two of them might look alike."""
    table.add_column(title, overflow="fold", min_width=8)


def _add_numbers(table: Table, *titles: str) -> None:
    for title in titles:
        table.add_column(title, justify="right", no_wrap=True)


def _of_class(card: Mapping[str, Any], name: str) -> dict[str, int]:
    return {part: card["counts"][part].get(name, 0) for part in PARTS}


def _slashed(counts: Mapping[str, Any]) -> str:
    return " / ".join(str(counts[part]) for part in PARTS)


def _noise_text(noise: Mapping[str, Any]) -> str:
    return "none" if noise["kind"] == "none" else f"{noise['kind']} {noise['realised_rate']:.3f}"
