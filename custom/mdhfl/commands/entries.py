"""`mdhfl consortium entry`, `mdhfl consortium join`: sites that each prepared their own images become a federation."""

import json
from pathlib import Path

import click

from mdhfl.files import write_atomically
from mdhfl.showing.terminal import say

FOLDER = click.Path(path_type=Path, file_okay=False)


@click.command(name="entry")
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--site", required=True, help="The site's name in the consortium.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="The file to write.")
def entry_command(folder: Path, *, site: str, out: Path) -> None:
    """Write what a site tells of its data: numbers of images in all, digests; no image, no path, no count of a class.

    FOLDER is the site's own federation folder, of `mdhfl prepare ... --sites 1`.

    \b
    Example:
      mdhfl consortium entry own/ --site berlin --out berlin.json
    """
    from mdhfl.preprocessing.folder.joining import entry_of

    _write(out, entry_of(folder, site=site))
    say("next: read it, and send it to whoever coordinates the consortium")


@click.command(name="join")
@click.argument("entries", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--name", default="federation", show_default=True, help="Of the federation.")
@click.option("--out", type=FOLDER, required=True, help="A new folder; jobs are made from it (--federation).")
def join_command(entries: tuple[Path, ...], *, name: str, out: Path) -> None:
    """Join the entries of sites into a federation's card, from which jobs are made.

    \b
    Example:
      mdhfl consortium join berlin.json paris.json --out fed/
    """
    from mdhfl.preprocessing.folder.joining import join, read_entry

    path = out / "federation.json"
    if path.exists():
        raise ValueError(f"{path}: exists already; experiments are bound to it, give another --out")
    card = join([read_entry(one) for one in entries], name=name)
    out.mkdir(parents=True, exist_ok=True)
    _write(path, card)


def _write(path: Path, values: object) -> None:
    text = json.dumps(values, indent=2, ensure_ascii=False) + "\n"
    write_atomically(path, lambda file: file.write(text.encode()))
    say(f"written: {path}")
