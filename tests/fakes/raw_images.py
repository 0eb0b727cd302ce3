"""Small raw datasets for tests of preprocessing, drawn on the spot."""

import io
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image


def picture(seed: int, *, height: int = 20, width: int = 24) -> np.ndarray:
    """Random pixels, (height, width, 3) uint8: no two seeds give the same."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def encoded(image: Image.Image, kind: str = "PNG") -> bytes:
    """The bytes of an image file."""
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def png(seed: int) -> bytes:
    """A PNG with random pixels."""
    return encoded(Image.fromarray(picture(seed)))


def write_files(top: Path, files: dict[str, bytes]) -> Path:
    """Write files below a folder; returns the folder."""
    for name, data in files.items():
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return top


def write_zip(path: Path, files: dict[str, bytes]) -> Path:
    """Write files into a zip; returns its path."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def class_folders(counts: dict[str, int], *, top: str = "cells", start: int = 0) -> dict[str, bytes]:
    """Files of a folder-of-classes with so many images a class."""
    seeds = iter(range(start, start + sum(counts.values())))
    return {
        f"{top}/{name}/{index:04}.png": png(next(seeds)) for name, count in counts.items() for index in range(count)
    }


def soft_picture(seed: int, *, side: int = 48) -> Image.Image:
    """A smooth random picture, as photographs are: no two seeds are alike."""
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)


def copied(image: Image.Image, *, quality: int = 60) -> Image.Image:
    """Nearly the same picture: a little brighter, and once through a JPEG."""
    buffer = io.BytesIO()
    image.point(lambda value: min(255, value + 6)).save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")
