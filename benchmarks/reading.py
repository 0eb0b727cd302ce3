"""What `mdhfl prepare` reads: a small federation and the whole of 17,000 images, against reading all without a look.

Before means: every image is read before any is drawn, and none is compared with any other but by its digest. Seconds
are of the processor, of all processes together, so that other programs disturb them little.
"""

import io
import os
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from PIL import Image

IMAGES, SIDE, CLASSES = 17_000, 64, 8
SIZES: Mapping[str, Mapping[str, int]] = {"60 images a site": {"per_site": 60}, "all": {}}


def measure(folder: Path) -> list[dict[str, Any]]:
    """Prepare each federation as before and now."""
    raw = write_images(folder / "raw.zip")
    rows = []
    for number, (name, changes) in enumerate(SIZES.items()):
        with patch("mdhfl.preprocessing.placing.draw.MOST", 0.0):
            before = _seconds(raw, folder / f"before {number}", near=0, **changes)
        now = _seconds(raw, folder / f"now {number}", **changes)
        rows.append(
            {"federation": name, "before s": round(before, 1), "now s": round(now, 1), "ratio": round(now / before, 2)}
        )
    return rows


def write_images(path: Path) -> Path:
    """Write smooth random images of several classes as JPEGs in a zip."""
    generator = np.random.default_rng(0)
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(IMAGES):
            buffer = io.BytesIO()
            coarse = Image.fromarray(generator.integers(0, 256, (8, 8, 3), dtype=np.uint8))
            coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=90)
            archive.writestr(f"class {number % CLASSES}/{number:05}.jpg", buffer.getvalue())
    return path


def _seconds(raw: Path, out: Path, **changes: Any) -> float:
    from mdhfl.preprocessing.arguments import PrepareArguments
    from mdhfl.preprocessing.prepare import prepare

    arguments = PrepareArguments("folder", raw=raw, out=out, sites=4, image_size=SIDE, public_count=400, **changes)
    return _used(lambda: prepare(arguments, workers=2))


def _used(work: Callable[[], object]) -> float:
    start = os.times()
    work()
    end = os.times()
    return sum(end[:4]) - sum(start[:4])  # user and system, of this process and of those it waited for
