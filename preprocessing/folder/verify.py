"""Is a federation folder what its cards say? A problem names the file, what was expected, what came, the way out."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mdhfl.digests import image_digest
from mdhfl.files import check_prepared_image, read_checked
from mdhfl.preprocessing.folder.apart import Side, not_apart, sides_of
from mdhfl.preprocessing.folder.cards import Json, public_digest, server_digest, site_digest
from mdhfl.preprocessing.folder.writing import FEDERATION_FILE
from mdhfl.preprocessing.pool.likeness import likeness_of
from mdhfl.preprocessing.raw.records import PARTS

AGAIN = "copy the folder again, or recreate it with `mdhfl prepare`"


def verify_federation(folder: Path, *, pixels: bool) -> list[str]:
    """Problems of a federation folder; none: an empty list.

    Args:
        folder: holds federation.json.
        pixels: also decode every image and compare its digest.
    """
    problems = _Problems(with_likeness=pixels)
    federation = _load(folder / FEDERATION_FILE, schema="federation", problems=problems)
    if federation is None:
        return problems
    if federation.get("joined"):  # a card is all that it is
        return problems
    classes, size = federation["classes"], federation["image_size"]
    sides: dict[Side, Sequence[Mapping[str, Any]]] = {}
    for site, facts in federation["sites"].items():
        home = folder / "sites" / site
        datalist = _verify_site(home, classes=classes, size=size, pixels=pixels, problems=problems)
        if datalist is not None:
            sides.update(sides_of(f"sites/{site}", datalist))
            counts = {part: len(datalist[part]) for part in PARTS}
            _compare(home, "images per part", {part: facts[part] for part in PARTS}, counts, problems=problems)
            _compare(home, "digest", facts["digest"], site_digest(datalist), problems=problems)
    facts, shown = federation["public"], None
    if not facts.get("at_server"):
        shown = _verify_public(folder / "public", facts=facts, size=size, pixels=pixels, problems=problems)
    sides.update(sides_of("public", shown or {}))
    if "server" in federation:
        home, facts = folder / "server", federation["server"]
        labelled = _verify_server(home, facts=facts, classes=classes, size=size, pixels=pixels, problems=problems)
        sides.update(sides_of("server", labelled or {}))
    if "alike" in federation:  # earlier versions promised less
        within = federation["alike"]["within"]
        found = not_apart(sides, likeness=problems.likeness, folder=folder, within=within)
        problems.extend(f"{problem}; {AGAIN}" for problem in found)
    return problems


def verify_site_data(site_folder: Path, *, public_folder: Path | None, pixels: bool = True) -> list[str]:
    """Problems of one site's data and the public set beside it, as a site sees them: without federation.json.

    Args:
        site_folder: holds datalist.json, card.json and images.
        public_folder: the same of the public set; None: the site has no copy of it.
        pixels: also decode every image and compare its digest.
    """
    problems = _Problems()
    card = _load(site_folder / "card.json", schema="card", problems=problems)
    public = None if public_folder is None else _load(public_folder / "card.json", schema="card", problems=problems)
    if card is None or (public is None and public_folder is not None):
        return problems
    size = card["image_size"]
    _verify_site(site_folder, classes=card["classes"], size=size, pixels=pixels, problems=problems, card=card)
    if public is None or public_folder is None:
        return problems
    _compare(public_folder / "card.json", "classes", card["classes"], public["classes"], problems=problems)
    facts = {"count": public["count"], "digest": public["digest"]}
    _verify_public(public_folder, facts=facts, size=size, pixels=pixels, problems=problems)
    return problems


def verify_public(folder: Path) -> list[str]:
    """Problems of a public set by itself, every image decoded."""
    problems = _Problems()
    card = _load(folder / "card.json", schema="card", problems=problems)
    if card is not None:
        facts = {"count": card.get("count"), "digest": card.get("digest")}
        _verify_public(folder, facts=facts, size=card["image_size"], pixels=True, problems=problems)
    return problems


class _Problems(list[str]):
    """What is wrong, and what was seen on the way.

    Attributes:
        with_likeness: make perceptual hashes.
        likeness: that of each image that was read, by its path.
    """

    def __init__(self, *, with_likeness: bool = False) -> None:
        super().__init__()
        self.with_likeness = with_likeness
        self.likeness: dict[Path, bytes] = {}


def _verify_site(
    home: Path,
    *,
    classes: Sequence[str],
    size: int,
    pixels: bool,
    problems: _Problems,
    card: Json | None = None,
) -> Json | None:
    card = card or _load(home / "card.json", schema="card", problems=problems)
    datalist = _load(home / "datalist.json", schema="datalist", problems=problems)
    if datalist is None:
        return None
    missing = [part for part in PARTS if part not in datalist]
    if missing:
        problems.append(
            f"{home / 'datalist.json'}: expected the parts {', '.join(PARTS)}; missing {', '.join(missing)}; {AGAIN}"
        )
        return None
    if card is not None:
        _compare(home / "card.json", "classes", list(classes), card["classes"], problems=problems)
        counts = {part: sum(card["counts"][part].values()) for part in PARTS}
        _compare(home / "card.json", "counts", counts, {part: len(datalist[part]) for part in PARTS}, problems=problems)
    items = [item for part in PARTS for item in datalist[part]]
    for item in items:
        for key in ("label", "clean_label"):
            if not 0 <= item.get(key, 0) < len(classes):
                problems.append(
                    f"{home / 'datalist.json'}: {item['image']}: expected {key} from 0 to {len(classes) - 1} "
                    f"({len(classes)} classes), got {item[key]}; {AGAIN}"
                )
    _verify_images(home, items, size=size, pixels=pixels, problems=problems)
    return datalist


def _verify_public(
    home: Path, *, facts: Mapping[str, Any], size: int, pixels: bool, problems: _Problems
) -> Json | None:
    _load(home / "card.json", schema="card", problems=problems)
    datalist = _load(home / "datalist.json", schema="datalist", problems=problems)
    if datalist is None:
        return None
    if "public" not in datalist:
        problems.append(f"{home / 'datalist.json'}: expected a list `public`, but it is missing; {AGAIN}")
        return None
    _compare(home / "datalist.json", "count", facts["count"], len(datalist["public"]), problems=problems)
    _compare(home / "datalist.json", "public digest", facts["digest"], public_digest(datalist), problems=problems)
    _verify_images(home, datalist["public"], size=size, pixels=pixels, problems=problems)
    return datalist


def _verify_server(
    home: Path,
    *,
    facts: Mapping[str, Any],
    classes: Sequence[str],
    size: int,
    pixels: bool,
    problems: _Problems,
) -> Json | None:
    card = _load(home / "card.json", schema="card", problems=problems)
    if card is not None:
        _compare(home / "card.json", "classes", list(classes), card["classes"], problems=problems)
    datalist = _load(home / "datalist.json", schema="datalist", problems=problems)
    if datalist is None:
        return None
    items = datalist.get("validation", [])
    _compare(home / "datalist.json", "count", facts["validation"], len(items), problems=problems)
    _compare(home / "datalist.json", "digest", facts["digest"], server_digest({"validation": items}), problems=problems)
    _verify_images(home, items, size=size, pixels=pixels, problems=problems)
    return datalist


def _verify_images(home: Path, items: Sequence[Json], *, size: int, pixels: bool, problems: _Problems) -> None:
    for item in items:
        path = home / item["image"]
        if not path.exists():
            problems.append(f"{path}: expected this image, but the file does not exist; {AGAIN}")
        elif not path.is_file():
            problems.append(f"{path}: expected an image, got something that is no regular file; {AGAIN}")
        elif pixels:
            _verify_pixels(path, item["digest"], size=size, problems=problems)


def _verify_pixels(path: Path, digest: str, *, size: int, problems: _Problems) -> None:
    try:
        check_prepared_image(path)
        with Image.open(path, formats=("PNG",)) as image:
            mode, shape = image.mode, image.size
            found = np.asarray(image.convert("RGB"), dtype=np.uint8)
    except Exception as error:  # decoders raise whatever they like on damaged files
        problems.append(f"{path}: expected an image, cannot be read ({error}); {AGAIN}")
        return
    if mode != "RGB" or shape != (size, size):
        problems.append(f"{path}: expected RGB of {size}x{size}, got {mode} of {shape[0]}x{shape[1]}; {AGAIN}")
    elif (got := image_digest(found)) != digest:
        problems.append(f"{path}: expected pixels with digest {digest}, got {got}: the image was changed; {AGAIN}")
    elif problems.with_likeness:
        problems.likeness[path] = likeness_of(found)


def _load(path: Path, *, schema: str, problems: _Problems) -> Json | None:
    """A JSON file that follows its schema; else a problem and None."""
    try:
        return read_checked(path, schema=schema, missing=f"{path}: expected this file, but it does not exist")
    except (OSError, ValueError) as error:
        problems.append(f"{error}; {AGAIN}")
        return None


def _compare(path: Path, what: str, expected: Any, got: Any, *, problems: _Problems) -> None:
    if expected != got:
        problems.append(f"{path}: {what}: expected {expected}, got {got}; {AGAIN}")
