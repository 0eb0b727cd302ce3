"""A federation of sites that each prepared their own images: what a site tells of its data, and the card made of it.

No image leaves a site, so nobody can prepare the whole. A site's entry holds totals and digests, no image, no path, no
file name and no count of a class; the joined federation is a card, and jobs are made from cards alone.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mdhfl.files import check_against_schema, read_checked
from mdhfl.preprocessing.folder.cards import VERSION, Json, program_version
from mdhfl.preprocessing.folder.writing import FEDERATION_FILE

COMMON = ("classes", "label_space", "image_size", "public")  # what all sites of a federation have alike


def entry_of(folder: Path, *, site: str) -> Json:
    """Return what a site tells of its data.

    Args:
        folder: the site's federation folder, of `mdhfl prepare --sites 1`.
        site: the site's name in the consortium.

    Raises:
        FileNotFoundError: it is no federation folder.
        ValueError: its card is damaged, it holds several sites, or the name is none that FLARE takes.
    """
    missing = f"{folder}: no {FEDERATION_FILE}; prepare the site's images with `mdhfl prepare ... --sites 1`"
    card = read_checked(folder / FEDERATION_FILE, schema="federation", missing=missing)
    if len(card["sites"]) != 1:
        raise ValueError(
            f"{folder}: expected the images of one site, got {len(card['sites'])}; prepare them with --sites 1"
        )
    (facts,) = card["sites"].values()
    public = {name: card["public"][name] for name in ("count", "digest")}
    entry = {"version": VERSION, "site": site, **{name: card[name] for name in COMMON}, "public": public, **facts}
    check_against_schema(entry, schema="entry", what=f"--site {site}")
    return entry


def read_entry(path: Path) -> Json:
    """Read what a site tells of its data. Raises FileNotFoundError, ValueError."""
    return read_checked(
        path, schema="entry", missing=f"{path}: no such entry; a site writes it with `mdhfl consortium entry`"
    )


def join(entries: Sequence[Mapping[str, Any]], *, name: str) -> Json:
    """Return the card of a federation, `federation.json`.

    Args:
        entries: at least two sites'.
        name: of the federation.

    Raises:
        ValueError: two entries of one site, or entries that do not go together; with what differs.
    """
    sites = [entry["site"] for entry in entries]
    if len(set(sites)) < 2 or len(set(sites)) != len(sites):
        raise ValueError(f"expected the entries of at least two sites, each once, got {', '.join(sites) or 'none'}")
    first = entries[0]
    for other in entries[1:]:
        for what in COMMON:
            if other[what] != first[what]:
                raise ValueError(
                    f"{what.replace('_', ' ')}: site {first['site']!r} has {first[what]}, site {other['site']!r} "
                    f"{other[what]}; prepare both with the same public set, label space and image size"
                )
    facts = {entry["site"]: {part: entry[part] for part in ("training", "validation", "test", "digest")}
             for entry in sorted(entries, key=lambda entry: str(entry["site"]))}  # fmt: skip
    card = {
        "version": VERSION,
        "name": name,
        **{what: first[what] for what in COMMON},
        "sites": facts,
        "joined": True,
        "sources": [],
        "arguments": {"seed": 0},
        "skipped": 0,
        "duplicates": 0,
        "notes": ["Each site prepared its own images: whether one image is at two sites was not looked at."],
        "prepared_with": {"mdhfl": program_version()},
    }
    check_against_schema(card, schema="federation", what="the joined federation")
    return card
