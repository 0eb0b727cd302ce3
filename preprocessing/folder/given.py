"""A public set that was prepared before and sent: taken as it is, so that all sites have the same one.

Or its offer alone, where the server will send the images: then their digests are known, and nothing else of them.
"""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mdhfl.digests import list_digest
from mdhfl.files import read_checked, read_json
from mdhfl.preprocessing.folder.verify import verify_public
from mdhfl.preprocessing.pool.given import Given
from mdhfl.preprocessing.pool.likeness import likeness_of


def copy_given(folder: Path, *, to: Path) -> dict[str, Any]:
    """Copy a public set: what its lists name, and nothing else; of an offer nothing. Return its count and digest."""
    if folder.is_file():
        offer = _read_offer(folder)
        return {"count": len(offer["images"]), "digest": _digest_of(offer), "at_server": True}
    (to / "images").mkdir(parents=True)
    for name in ("datalist.json", "card.json"):
        shutil.copyfile(folder / name, to / name)
    for item in _listed(folder):
        shutil.copyfile(folder / item["image"], to / item["image"])
    card = read_json(folder / "card.json")
    return {name: card[name] for name in ("count", "digest")}


def read_given(folder: Path, *, classes: Sequence[str], image_size: int, likeness: bool) -> Given:
    """Check a public set, every image of it.

    Args:
        folder: as it was sent; or an offer's file: then only identical images are found.
        classes: of the federation that is prepared.
        image_size: the same.
        likeness: make perceptual hashes.

    Raises:
        ValueError: it is damaged, or made for other classes or another image size.
    """
    if folder.is_file():
        return _given_by_offer(folder, image_size=image_size)
    if problems := verify_public(folder):
        raise ValueError(f"public set {folder}: {'; '.join(problems[:3])}")
    card = read_json(folder / "card.json")
    for what, got, wanted in (("classes", card["classes"], [*classes]), ("image size", card["image_size"], image_size)):
        if got != wanted:
            raise ValueError(
                f"public set {folder}: {what}: it has {got}, asked for is {wanted}; give the same --label-space, "
                "--classes and --image-size as whoever prepared it"
            )
    listed = _listed(folder)
    likenesses = tuple(_likeness(folder / item["image"]) for item in listed) if likeness else ()
    return Given(tuple(item["digest"] for item in listed), likenesses)


def _given_by_offer(path: Path, *, image_size: int) -> Given:
    offer = _read_offer(path)
    if offer["image_size"] != image_size:
        raise ValueError(
            f"{path}: image size: it has {offer['image_size']}, asked for is {image_size}; give the same "
            "--image-size as whoever prepared it"
        )
    if _digest_of(offer) != offer["public_digest"]:
        raise ValueError(f"{path}: its digest is not that of its images; get the file again")
    return Given(tuple(digest for digest, _, _ in offer["images"]), ())


def _read_offer(path: Path) -> dict[str, Any]:
    return read_checked(path, schema="offer", missing=f"{path}: no such offer; `mdhfl consortium offer` writes one")


def _digest_of(offer: Mapping[str, Any]) -> str:
    return list_digest(digest for digest, _, _ in offer["images"])


def _listed(folder: Path) -> list[dict[str, str]]:
    return list(read_json(folder / "datalist.json")["public"])


def _likeness(path: Path) -> bytes:
    with Image.open(path, formats=("PNG",)) as image:
        return likeness_of(np.asarray(image, dtype=np.uint8))
