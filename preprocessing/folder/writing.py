"""Write a federation folder: images under running numbers, datalists, cards; beside its place, then renamed."""

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mdhfl.files import read_json
from mdhfl.preprocessing.folder.cards import VERSION, Json
from mdhfl.preprocessing.placing.sites import Item, PlacedSite
from mdhfl.preprocessing.pool.read import Picture
from mdhfl.preprocessing.raw.records import PARTS
from mdhfl.seeds import stream

FEDERATION_FILE = "federation.json"
LINE = 160


def write_compact(path: Path, content: Json) -> None:
    """Write JSON with one line per image or row, in a fixed layout, so that equal content is equal bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = _layout(content, indent=0) + "\n"
    path.write_text(text, encoding="utf-8", errors="backslashreplace")  # of a lone surrogate: JSON's own escape


def write_site(site: PlacedSite, *, folder: Path, seed: int) -> Json:
    """Write a site's images to `images/`, numbered after a shuffle, and write its datalist.

    Returns:
        The datalist.
    """
    flat = [(part, item) for part in PARTS for item in site.parts[part]]
    order = stream(seed, "numbers", site.name).permutation(len(flat))
    (folder / "images").mkdir(parents=True)
    datalist: Json = {"version": VERSION, **{part: [] for part in PARTS}}
    for number, index in enumerate(order):
        part, item = flat[index]
        image = _image_name(number)
        item.picture.write(folder / image)
        datalist[part].append(_site_item(item, image=image, noisy=part == "training" and site.noise_kind != "none"))
    write_compact(folder / "datalist.json", datalist)
    return datalist


def write_public(pictures: Sequence[Picture], *, folder: Path, seed: int) -> Json:
    """Write the public images to `images/`, shuffled, and write their datalist: no label, no source, no group.

    Returns:
        The datalist.
    """
    (folder / "images").mkdir(parents=True)
    items = []
    for number, index in enumerate(stream(seed, "numbers", "public").permutation(len(pictures))):
        image = _image_name(number)
        pictures[index].write(folder / image)
        items.append({"image": image, "digest": pictures[index].digest})
    datalist = {"version": VERSION, "public": items}
    write_compact(folder / "datalist.json", datalist)
    return datalist


def write_server(pictures: Sequence[Picture], *, folder: Path, seed: int) -> Json:
    """Write the server's labelled images to `images/`, shuffled, and write their datalist: one part, `validation`.

    Returns:
        The datalist.
    """
    (folder / "images").mkdir(parents=True)
    items = []
    for number, index in enumerate(stream(seed, "numbers", "server").permutation(len(pictures))):
        image, picture = _image_name(number), pictures[index]
        picture.write(folder / image)
        items.append({"image": image, "label": int(picture.candidate.label or 0), "digest": picture.digest})
    datalist: Json = {"version": VERSION, "validation": items}
    write_compact(folder / "datalist.json", datalist)
    return datalist


@contextmanager
def beside(out: Path) -> Iterator[Path]:
    """A folder to write in, beside `out`; put in its place when all went well, removed when not.

    Raises:
        ValueError: `out` is a file, or a folder of something else.
    """
    out = out.resolve()
    check_replaceable(out)
    temporary, old = out.with_name(f"{out.name}.tmp"), out.with_name(f"{out.name}.old.tmp")
    for left_over in (temporary, old):
        shutil.rmtree(left_over, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        if out.exists():
            out.rename(old)
        temporary.rename(out)
    except BaseException:
        if old.exists() and not out.exists():
            old.rename(out)
        raise
    finally:
        for left_over in (temporary, old):
            shutil.rmtree(left_over, ignore_errors=True)


def check_replaceable(out: Path) -> None:
    """Refuse to write over anything but nothing, an empty folder or a federation folder.

    Raises:
        ValueError: what lies there.
    """
    if out.is_dir() and ((out / FEDERATION_FILE).is_file() or not any(out.iterdir())):
        return
    if out.exists():
        raise ValueError(f"out {out}: not a federation folder, so it is not replaced; choose another --out")


def earlier_federation(folder: Path) -> Json | None:
    """The federation card that already lies in a folder, or None where there is none that can be read."""
    try:
        return read_json(folder / FEDERATION_FILE)
    except (OSError, ValueError):
        return None


def _layout(value: Any, *, indent: int) -> str:
    """JSON with what fits into a line on one line: one line per image, one per row of a matrix."""
    flat = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, dict | list) or len(flat) + indent <= LINE:
        return flat
    pad = " " * (indent + 1)
    if isinstance(value, dict):
        lines = [f"{pad}{json.dumps(key)}: {_layout(part, indent=indent + 1)}" for key, part in value.items()]
    else:
        lines = [pad + _layout(part, indent=indent + 1) for part in value]
    left, right = "{}" if isinstance(value, dict) else "[]"
    return f"{left}\n" + ",\n".join(lines) + f"\n{' ' * indent}{right}"


def _site_item(item: Item, *, image: str, noisy: bool) -> Json:
    entry: Json = {"image": image, "label": item.label, "digest": item.picture.digest}
    if item.picture.candidate.group is not None:
        entry["group"] = item.picture.candidate.group
    if noisy:
        entry["clean_label"] = item.clean
    return entry


def _image_name(number: int) -> str:
    return f"images/img_{number:05}.png"
