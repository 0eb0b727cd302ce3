"""The public set of photographs: the same tiles every time, none on top of another, enough for a comparison."""

import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np
from click.testing import CliRunner
from PIL import Image

from experiments.photographs import PHOTOGRAPHS, TILE, main, tiles

WANTED = 400  # public images in experiments/public_sets.yaml


def test_tiles_cover_a_picture_without_overlap() -> None:
    height, width = 2 * TILE + 5, 3 * TILE
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    found = list(tiles(pixels))
    assert len(found) == 6
    rows = [np.concatenate(found[k : k + 3], axis=1) for k in (0, 3)]
    np.testing.assert_array_equal(np.concatenate(rows), pixels[: 2 * TILE])


def test_the_same_tiles_are_written_every_time(tmp_path: Path) -> None:
    for name in ("a.zip", "b.zip"):
        done = CliRunner().invoke(main, [str(tmp_path / name)])
        assert done.exit_code == 0, done.output
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        names = archive.namelist()
        first = Image.open(BytesIO(archive.read(names[0])))
    assert first.size == (TILE, TILE)
    assert first.mode == "RGB"
    assert len(names) == len(set(names)) > WANTED
    assert {Path(name).name.rpartition("_")[0] for name in names} == set(PHOTOGRAPHS)
