"""A bundle's own transforms: the pixels of `mdhfl prepare`, from a module that needs no mdhfl."""

import ast
import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from fakes.hostile import WORST, formulas_in, hidden_in, texts
from fakes.strange_images import write_strange_images
from hypothesis import example, given, settings
from PIL import Image

from mdhfl.files import shipped_folder
from mdhfl.preprocessing.raw.cropping import square
from mdhfl.preprocessing.raw.reading import decode_rgb

MODULE = shipped_folder("bundles") / "resnet10" / "mdhfl_transforms.py"


@pytest.fixture(scope="module")
def transforms() -> ModuleType:
    spec = importlib.util.spec_from_file_location("mdhfl_transforms", MODULE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("images") / "strange"
    write_strange_images(folder)
    pixels = np.linspace(-1.5, 7, 12 * 15, dtype=np.float32).reshape(12, 15)
    Image.fromarray(pixels).save(folder / "float.tiff")
    Image.fromarray(np.full((11, 14), 300, np.uint16)).save(folder / "constant.png")
    palette = Image.fromarray(np.arange(100, dtype=np.uint8).reshape(10, 10)).convert("P")
    palette.save(folder / "transparent palette.png", transparency=3)
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".txt")


@pytest.mark.parametrize("crop", [None, 0.3, 0.75, 1, 7, 200])
def test_any_image_becomes_what_prepare_makes_of_it(
    transforms: ModuleType, images: list[Path], crop: float | None
) -> None:
    cut = transforms.CentreSquareCropd("image", crop=crop)
    resize = transforms.LanczosResized("image", size=16)
    for path in images:
        with Image.open(path) as image:
            pixels = np.array(transforms.to_rgb(image))
        item = resize(cut({"image": torch.from_numpy(pixels.transpose(2, 0, 1)), "label": 1}))
        expected = square(decode_rgb(path.read_bytes()), crop=crop, size=16)
        np.testing.assert_array_equal(item["image"].numpy(), expected.transpose(2, 0, 1), err_msg=path.name)
        assert (item["image"].dtype, item["label"]) == (torch.uint8, 1)


def test_pixels_that_are_not_finite_are_refused(transforms: ModuleType) -> None:
    with pytest.raises(ValueError, match="expected finite pixels, got values from nan to nan"):
        transforms.to_rgb(Image.fromarray(np.array([[0, np.nan]], dtype=np.float32)))


@pytest.mark.parametrize("crop", [0, -1, float("nan")])
def test_a_crop_that_keeps_nothing_is_refused(transforms: ModuleType, crop: float) -> None:
    with pytest.raises(ValueError, match="crop: expected"):
        transforms.CentreSquareCropd("image", crop=crop)


def test_the_module_needs_only_what_a_monai_bundle_has() -> None:
    tree = ast.parse(MODULE.read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import)]
    named = {alias.name for node in imports for alias in node.names}
    named |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in named} <= {"PIL", "collections", "monai", "numpy", "re", "torch", "typing"}


@given(texts())
@example(WORST)
@example("x;=1 ;'@a")
@settings(deadline=None)
def test_texts_are_safe_in_a_csv_file(transforms: ModuleType, text: str) -> None:
    assert not formulas_in([[part] for part in transforms.csv_text(text).split(";")])
    assert not hidden_in(transforms.csv_text(text))
