"""A federation folder in a second: one colour a class, with noise, so that a network learns it in an epoch or two."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("blue", "red", "green")
COLOURS = ((60, 60, 200), (200, 60, 60), (60, 180, 60))


def draw(label: int, *, random: np.random.Generator, size: int) -> np.ndarray:
    """Return a (size, size, 3) uint8 image of a class: a coloured disc on a noisy ground."""
    image = random.normal(128, 40, size=(size, size, 3))
    y, x = np.mgrid[:size, :size]
    centre = random.uniform(0.35, 0.65, size=2) * size
    disc = (y - centre[0]) ** 2 + (x - centre[1]) ** 2 < (size / 4) ** 2
    image[disc] = 0.5 * image[disc] + 0.5 * np.array(COLOURS[label])
    return image.clip(0, 255).astype(np.uint8)


def write_federation(
    folder: Path,
    *,
    sites: Sequence[str] = ("site-1", "site-2"),
    training: int = 24,
    testing: int = 12,
    public: int = 20,
    server: int = 0,
    size: int = 32,
    seed: int = 0,
    grey_public: bool = False,
) -> Path:
    """Write a federation folder and return it."""
    random = np.random.default_rng(seed)
    described = {}
    for site in sites:
        parts = {"training": training, "validation": testing, "test": testing}
        described[site] = {**parts, "digest": _write_site(folder / "sites" / site, parts, random=random, size=size)}
    shown = []
    for i in range(public):
        pixels = draw(int(random.integers(len(CLASSES))), random=random, size=size)
        shown.append(_write_image(folder / "public", i, pixels[..., :1].repeat(3, axis=2) if grey_public else pixels))
    public_digest = _digest([item["digest"] for item in shown])
    _write_json(folder / "public" / "datalist.json", {"version": 1, "public": shown})
    _write_set_card(folder / "public", count=public, digest=public_digest, size=size)
    card = {}
    if server:
        labels = [i % len(CLASSES) for i in range(server)]
        items = [
            {**_write_image(folder / "server", i, draw(label, random=random, size=size)), "label": label}
            for i, label in enumerate(labels)
        ]
        _write_json(folder / "server" / "datalist.json", {"version": 1, "validation": items})
        digest = _digest([f"{i['digest']} {i['label']}" for i in items])
        _write_set_card(folder / "server", count=server, digest=digest, size=size)
        card = {"server": {"validation": server, "digest": digest}}
    _write_json(
        folder / "federation.json",
        {
            **card,
            "version": 1, "name": "small", "classes": list(CLASSES), "label_space": "auto", "image_size": size,
            "public": {"count": public, "digest": public_digest}, "sites": described,
            "sources": [{"name": "drawn", "title": "discs", "licence": "none", "citation": "none", "url": ""}],
            "arguments": {"seed": seed}, "skipped": 0, "duplicates": 0, "prepared_with": {"mdhfl": "0"},
        },
    )  # fmt: skip
    return folder


def _write_site(folder: Path, parts: dict[str, int], *, random: np.random.Generator, size: int) -> str:
    """Write a site's images, datalist and card; return the digest of its data."""
    datalist: dict = {"version": 1}
    number = 0
    for part, count in parts.items():
        datalist[part] = []
        for _ in range(count):
            label = number % len(CLASSES)
            item = _write_image(folder, number, draw(label, random=random, size=size))
            datalist[part].append({**item, "label": label})
            number += 1
    digest = _digest([f"{i['digest']} {i['label']}" for part in parts for i in datalist[part]])
    counts = {
        part: {name: sum(i["label"] == c for i in datalist[part]) for c, name in enumerate(CLASSES)} for part in parts
    }
    card = {
        "version": 1, "site": folder.name, "source": ["drawn"], "classes": list(CLASSES), "image_size": size,
        "counts": counts, "noise": {"kind": "none", "rate": 0.0, "realised_rate": 0.0, "matrix": []},
        "skipped": [], "licence": "none", "citation": "none", "missing_classes": [],
    }  # fmt: skip
    _write_json(folder / "datalist.json", datalist)
    _write_json(folder / "card.json", card)
    return digest


def _write_set_card(folder: Path, *, count: int, digest: str, size: int) -> None:
    card = {
        "version": 1, "source": ["drawn"], "count": count, "digest": digest, "classes": list(CLASSES),
        "image_size": size, "licence": "none", "citation": "none", "skipped": [],
    }  # fmt: skip
    _write_json(folder / "card.json", card)


def _write_image(folder: Path, number: int, pixels: np.ndarray) -> dict[str, str]:
    name = f"images/img_{number:05d}.png"
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    height, width = pixels.shape[:2]
    digest = hashlib.sha256(f"{height}x{width}x3:".encode() + np.ascontiguousarray(pixels).tobytes()).hexdigest()[:16]
    return {"image": name, "digest": digest}


def _digest(lines: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _write_json(path: Path, values: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values, indent=1), encoding="utf-8")
