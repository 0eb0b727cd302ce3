"""A public set that has nothing to do with blood: tiles of scikit-image's photographs.

`python -m experiments.photographs <folder>/photographs.zip` writes it beside the other raw data, for
`experiments/public_sets.yaml`. The photographs (a woman, a cat, a cup, a rocket, a motorcycle) come with the
package; the same version of it gives the same tiles.
"""

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from skimage import data, transform

PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "rocket", "stereo_motorcycle")
TILE = 64  # pixels
ENLARGED = 1.5


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
def main(path: Path) -> None:
    """Write the tiles as PNG files into the zip PATH."""
    count = 0
    with zipfile.ZipFile(path, "w") as archive:
        for name in PHOTOGRAPHS:
            for tile in tiles(photograph(name)):
                file = io.BytesIO()
                Image.fromarray(tile).save(file, format="png")
                archive.writestr(zipfile.ZipInfo(f"photographs/{name}_{count:03d}.png"), file.getvalue())
                count += 1
    click.echo(f"{count} tiles: {path}")


def photograph(name: str) -> NDArray[np.uint8]:
    """Return one, enlarged: (H, W, 3), 0 to 255."""
    found = getattr(data, name)()
    pixels = found[0] if isinstance(found, tuple) else found
    larger = transform.rescale(pixels, ENLARGED, channel_axis=-1, anti_aliasing=False)
    shown: NDArray[np.uint8] = np.round(255 * larger).astype(np.uint8)
    return shown


def tiles(pixels: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    """Yield those that do not overlap, row by row: (TILE, TILE, 3)."""
    height, width = pixels.shape[:2]
    for top in range(0, height - TILE + 1, TILE):
        for left in range(0, width - TILE + 1, TILE):
            yield pixels[top : top + TILE, left : left + TILE]


if __name__ == "__main__":
    main()
