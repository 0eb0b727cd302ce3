"""One image in many sizes, modes and formats."""

from pathlib import Path

import numpy as np
from PIL import Image

from fakes.small_federation import draw


def write_strange_images(folder: Path) -> None:
    """Write one image in many sizes, modes and formats, and a file that is no image."""
    folder.mkdir()
    random = np.random.default_rng(0)
    image = Image.fromarray(draw(1, random=random, size=50))
    wide = image.resize((81, 50))
    wide.save(folder / "wide.png")
    image.convert("CMYK").save(folder / "cmyk.jpg")
    image.convert("L").save(folder / "grey.tiff")
    image.convert("P").save(folder / "palette, with comma.gif")
    image.convert("1").save(folder / "black and white.png")
    clear = image.convert("RGBA")
    clear.putalpha(Image.fromarray(random.integers(0, 256, size=(50, 50), dtype=np.uint8)))
    clear.save(folder / "clear.png")
    Image.fromarray((random.random((40, 33)) * 60000).astype(np.uint16)).save(folder / "deep.png")
    (folder / "sub").mkdir()
    image.resize((9, 9)).save(folder / "sub" / "tiny.bmp")
    (folder / "notes.txt").write_text("not an image")
