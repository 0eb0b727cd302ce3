"""The overview folder, for people: contact sheets and the class-by-site chart. Nothing reads it."""

from __future__ import annotations

import importlib
import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from .records import PARTS, Pixels

A_CLASS = 8  # images of each class on a site's sheet
PUBLIC_IMAGES = 96

Json = dict[str, Any]


def draw_overview(folder: Path, *, classes: Sequence[str]) -> None:
    """Draw `overview/<site>.png`, `overview/public.png` and `overview/classes.png` of a written federation folder.

    A site's sheet shows up to `A_CLASS` images of each class by their true label, in the order of their numbers; a
    caption says where noise gave another label. The chart counts a site's images of all parts by true class.
    """
    if importlib.util.find_spec(f"{__package__}.pictures") is None:
        return  # the drawing is an extra: a federation folder without it is complete
    pictures = importlib.import_module(f"{__package__}.pictures")
    overview = folder / "overview"
    overview.mkdir()
    sites = sorted((folder / "sites").iterdir(), key=lambda site: (len(site.name), site.name))
    counts = {}
    for site in sites:
        datalist = _load(site / "datalist.json")
        counts[site.name] = _class_counts(datalist, classes=classes)
        shown = _shown_items(datalist, classes=classes)
        pictures.contact_sheet(
            [_pixels(site / item["image"]) for item in shown],
            captions=[_caption(item, classes=classes) for item in shown],
            title=site.name,
            path=overview / f"{site.name}.png",
        )
    public = _load(folder / "public" / "datalist.json")["public"][:PUBLIC_IMAGES]
    pictures.contact_sheet(
        [_pixels(folder / "public" / item["image"]) for item in public],
        captions=[""] * len(public),
        title="public set",
        path=overview / "public.png",
    )
    pictures.class_chart(counts, title="images a class and site", path=overview / "classes.png")


def _shown_items(datalist: Json, *, classes: Sequence[str]) -> list[Json]:
    items = sorted((item for part in PARTS for item in datalist[part]), key=lambda item: str(item["image"]))
    return [item for label in range(len(classes)) for item in [one for one in items if _clean(one) == label][:A_CLASS]]


def _class_counts(datalist: Json, *, classes: Sequence[str]) -> dict[str, int]:
    counts = dict.fromkeys(classes, 0)
    for part in PARTS:
        for item in datalist[part]:
            counts[classes[_clean(item)]] += 1
    return counts


def _caption(item: Json, *, classes: Sequence[str]) -> str:
    true, given = classes[_clean(item)], classes[item["label"]]
    return true if true == given else f"{true} (labelled {given})"


def _clean(item: Json) -> int:
    return int(item["clean_label"] if "clean_label" in item else item["label"])


def _pixels(path: Path) -> Pixels:
    with Image.open(path) as image:
        return np.array(image.convert("RGB"), dtype=np.uint8)


def _load(path: Path) -> Json:
    content: Json = json.loads(path.read_text("utf-8"))
    return content
