"""`mdhfl consortium offer`: what a server will offer of a public set, for the sites to read beforehand."""

from pathlib import Path

import click

from mdhfl.hosting.offer import Offer, in_words, offer_of, write_offer
from mdhfl.showing.terminal import say


@click.command(name="offer")
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="The file to write.")
def offer_command(folder: Path, *, out: Path) -> None:
    """Write what a server offers of a public set: digests, sizes, licence, origin; no image and no file's name.

    FOLDER is a federation's public folder. Every site gets the file: it reads the licence, accepts the offer
    (`mdhfl accept-public`), and prepares its own images with it (`mdhfl prepare ... --public prepared --public-raw
    offer.json`). The images come from the server when the first job begins.

    \b
    Example:
      mdhfl consortium offer base/public --out offer.json
    """
    offer = checked_offer(folder)
    write_offer(out, offer)
    for line in in_words(offer):
        say(line)
    say(f"written: {out}")
    say("next: send it to every site; the operator of the server gives the folder to `mdhfl server-kit --public`")


def checked_offer(folder: Path) -> Offer:
    """Return the offer of a public folder whose every image was decoded and compared.

    Raises:
        OSError, ValueError: it is damaged, or no public set.
    """
    from mdhfl.preprocessing.folder.verify import verify_public

    if problems := verify_public(folder):
        raise ValueError(f"{folder}: {'; '.join(problems[:3])}")
    return offer_of(folder)
