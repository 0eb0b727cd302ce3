"""The overview folder, for people: contact sheets and the class-by-site chart. Nothing reads it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from mdhfl.files import read_json
from mdhfl.preprocessing.folder.cards import Json
from mdhfl.preprocessing.folder.pictures import class_chart, contact_sheet
from mdhfl.preprocessing.raw.records import PARTS, Pixels

A_CLASS = 40  # training images of each given label that a site's sheet counts
PUBLIC_IMAGES = 96


def draw_overview(folder: Path, *, classes: Sequence[str]) -> None:
    """Draw `<site>.png`, `public.png` and `classes.png` into the `overview` of a written federation folder.

    There is no `public.png` where the server will send the public images.

    A site's sheet has a row for each given label, wrong ones outlined with the clean class below. The chart counts a
    site's images of all parts by true class.
    """
    overview = folder / "overview"
    overview.mkdir()
    sites = sorted((folder / "sites").iterdir(), key=lambda site: (len(site.name), site.name))
    counts = {}
    for site in sites:
        datalist = read_json(site / "datalist.json")
        counts[site.name] = _class_counts(datalist, classes=classes)
        shown = _shown_items(datalist["training"], classes=classes)
        contact_sheet(
            [_pixels(site / item["image"]) for item in shown],
            [item["label"] for item in shown],
            classes=classes,
            clean_labels=[_clean(item) for item in shown] if any("clean_label" in item for item in shown) else None,
            title=f"{site.name}, training images",
            path=overview / f"{site.name}.png",
        )
    if (folder / "public").is_dir():  # else the server sends it
        public = read_json(folder / "public" / "datalist.json")["public"][:PUBLIC_IMAGES]
        contact_sheet(
            [_pixels(folder / "public" / item["image"]) for item in public],
            title="public set, unlabelled",
            path=overview / "public.png",
        )
    class_chart(counts, overview / "classes.png")


def _shown_items(items: Sequence[Json], *, classes: Sequence[str]) -> list[Json]:
    of_class: list[list[Json]] = [[] for _ in classes]
    for item in sorted(items, key=lambda item: str(item["image"])):
        if len(of_class[item["label"]]) < A_CLASS:
            of_class[item["label"]].append(item)
    return [item for members in of_class for item in members]


def _class_counts(datalist: Json, *, classes: Sequence[str]) -> dict[str, int]:
    counts = dict.fromkeys(classes, 0)
    for part in PARTS:
        for item in datalist[part]:
            counts[classes[_clean(item)]] += 1
    return counts


def _clean(item: Json) -> int:
    return int(item["clean_label"] if "clean_label" in item else item["label"])


def _pixels(path: Path) -> Pixels:
    with Image.open(path) as image:
        return np.array(image.convert("RGB"), dtype=np.uint8)
