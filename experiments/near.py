"""How `--near` was chosen: copies of real cells that are found, and pairs of different cells that are taken for copies.

`python -m experiments.near --data ../shared/data` writes the tables of docs/data.md.
"""

import io
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

from benchmarks.__main__ import markdown
from experiments.document import replaced
from mdhfl.preprocessing.pool.likeness import likeness_of, near_pairs
from mdhfl.preprocessing.raw.cropping import square
from mdhfl.preprocessing.raw.reading import decode_rgb
from mdhfl.preprocessing.raw.records import Pixels

PAGE = Path("docs/data.md")
BITS = (4, 6, 8, 10)
SIZE = 32
COPIES = 300
SETS = {
    "Acevedo_20": "acevedo20_64px.zip",
    "Matek_19 tiles": "matek19_tiles_108px.zip",
    "JTSC": "jtsc.zip",
    "BCCD": "bccd.zip",
}
PAPER = (230, 220, 210)  # around what is turned

Change = Callable[[Image.Image], Image.Image]


def _jpeg(image: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")


def _cut(image: Image.Image, *, left: float, right: float) -> Image.Image:
    side = image.width
    return image.crop((round(left * side), round(left * side), side - round(right * side), side - round(right * side)))


CHANGES: Mapping[str, Change] = {
    "JPEG of quality 50": lambda image: _jpeg(image, 50),
    "half the size": lambda image: image.resize((image.width // 2, image.height // 2), Image.Resampling.LANCZOS),
    "64 colours": lambda image: image.quantize(64).convert("RGB"),
    "grey": lambda image: image.convert("L").convert("RGB"),
    "blurred": lambda image: image.filter(ImageFilter.GaussianBlur(1)),
    "20 % brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.2),
    "30 % more contrast": lambda image: ImageEnhance.Contrast(image).enhance(1.3),
    "2 % cut off all around": lambda image: _cut(image, left=0.02, right=0.02),
    "moved by 2 %": lambda image: _cut(image, left=0.02, right=0.0),
    "turned by 3 degrees": lambda image: image.rotate(3, Image.Resampling.BICUBIC, fillcolor=PAPER),
    "5 % cut off all around": lambda image: _cut(image, left=0.05, right=0.05),
    "turned by 90 degrees, or mirrored": lambda image: image.transpose(Image.Transpose.ROTATE_90),
}


@click.command()
@click.option("--data", type=click.Path(path_type=Path), required=True, help="Folder with the real images.")
def main(data: Path) -> None:
    """Measure, and write the tables."""
    page = PAGE.read_text(encoding="utf-8")
    natives = [decode_rgb(file) for file in _files(data / "acevedo20_native_subset.zip")[:: 1200 // COPIES]]
    page = replaced(page, "copies", markdown([_found(name, natives) for name in CHANGES]))
    page = replaced(page, "look-alikes", markdown([_taken(name, data / file) for name, file in SETS.items()]))
    PAGE.write_text(page, encoding="utf-8")


def _found(name: str, natives: Sequence[Pixels]) -> dict[str, Any]:
    """Of how many images the changed copy is joined with the original."""
    row: dict[str, Any] = {"copy": name}
    pairs = []
    for pixels in natives:
        original = Image.fromarray(square(pixels, crop=220, size=200))
        changed = np.asarray(CHANGES[name](original))
        pairs.append([likeness_of(square(each, crop=None, size=SIZE)) for each in (np.asarray(original), changed)])
    for bits in BITS:
        found = sum(len(near_pairs(pair, within=bits)) for pair in pairs)
        row[f"{bits} bits"] = f"{found / len(pairs):.0%}"
    return row


def _taken(name: str, path: Path) -> dict[str, Any]:
    """Pairs of images with different pixels that are joined."""
    images = [square(decode_rgb(file), crop=None, size=SIZE) for file in _files(path)]
    distinct = list({image.tobytes(): image for image in images}.values())
    likenesses = [likeness_of(image) for image in distinct]
    row: dict[str, Any] = {"images": name, "number": f"{len(distinct):,}"}
    for bits in BITS:
        row[f"{bits} bits"] = len(near_pairs(likenesses, within=bits))
    return row


def _files(path: Path) -> list[bytes]:
    with zipfile.ZipFile(path) as archive:
        names = sorted(name for name in archive.namelist() if name.lower().endswith((".jpg", ".png")))
        return [archive.read(name) for name in names]


if __name__ == "__main__":
    main()
