"""The site's side on disk: each public set in a folder named by its digest, and the offers that were made.

A set is whole when its datalist.json is there: it is written last. Names of files are the site's own.
"""

import json
from contextlib import suppress
from pathlib import Path

from mdhfl.files import FEDERATION_FORMAT, write_atomically
from mdhfl.hosting.offer import Offer, OfferedImage, hexadecimal, measure, read_offer, write_offer

ROOM = "_public"  # in the site's state folder; no experiment is called so, since no plain name begins with "_"
OFFER, DATALIST = "offer.json", "datalist.json"
OFFERED = "offered"
MOST_OFFERED = 10  # offers that are kept to be looked at; the oldest makes room


def set_folder(state: Path, public_digest: str) -> Path:
    """Return the folder of a public set. Raises MessageError: the digest is none, and names no folder."""
    return state / ROOM / hexadecimal(public_digest, what="public digest", length=64)


def kept_offer(folder: Path) -> Offer | None:
    """Return the offer of which a folder holds the images, or some of them; None for none that can be read."""
    with suppress(OSError, ValueError):
        offer = read_offer(folder / OFFER)
        return offer if offer.public_digest == folder.name else None
    return None


def image_path(folder: Path, number: int) -> Path:
    """Return where the image of this number lies."""
    return folder / _name(number)


def is_whole(path: Path, image: OfferedImage) -> bool:
    """Return whether a file is the image that was offered, by its size and SHA-256."""
    try:
        return path.stat().st_size == image.size and measure(path) == (image.size, image.sha256)
    except OSError:
        return False


def missing_images(folder: Path, offer: Offer) -> list[int]:
    """Return the numbers of the images that are not there, or not as they were offered."""
    return [n for n, image in enumerate(offer.images) if not is_whole(image_path(folder, n), image)]


def is_complete(folder: Path, offer: Offer) -> bool:
    """Return whether a set is whole; every file is read."""
    return (folder / DATALIST).is_file() and not missing_images(folder, offer)


def complete(folder: Path, offer: Offer) -> None:
    """Write the list of a set's images, which says that all are there. Raises StateError."""
    listed = [{"image": _name(number), "digest": image.digest} for number, image in enumerate(offer.images)]
    text = json.dumps({"version": FEDERATION_FORMAT, "public": listed}, indent=1) + "\n"
    write_atomically(folder / DATALIST, lambda file: file.write(text.encode()))


def bytes_of_others(state: Path, *, than: Path) -> int:
    """Return how many bytes all sets but one take on disk, or will once they are whole."""
    folders = [path for path in (state / ROOM).glob("*") if path != than]
    return sum(offer.bytes for offer in map(kept_offer, folders) if offer is not None)


def note_offer(state: Path, offer: Offer) -> None:
    """Keep an offer for the site's IT to look at. Raises StateError."""
    folder = state / ROOM / OFFERED
    write_offer(folder / f"{offer.digest}.json", offer)
    oldest_last = sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in oldest_last[MOST_OFFERED:]:
        path.unlink(missing_ok=True)


def offers_known(state: Path) -> list[Offer]:
    """Return the offers that a site has been made and those of which it holds images, each once."""
    paths = [*sorted((state / ROOM / OFFERED).glob("*.json")), *sorted((state / ROOM).glob(f"*/{OFFER}"))]
    found = {}
    for path in paths:
        with suppress(OSError, ValueError):
            offer = read_offer(path)
            found[offer.digest] = offer
    return list(found.values())


def _name(number: int) -> str:
    return f"images/{number:05d}.png"
