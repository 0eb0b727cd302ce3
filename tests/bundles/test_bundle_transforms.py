"""A bundle's own transforms: the pixels of `mdhfl prepare`, from a module that needs no mdhfl."""

import ast
import importlib
import sys
from contextlib import closing
from pathlib import Path
from types import ModuleType

import nibabel
import numpy as np
import pytest
import torch
from fakes.hostile import WORST, formulas_in, hidden_in, texts
from fakes.strange_images import write_strange_images
from hypothesis import example, given, settings
from PIL import Image

from mdhfl.files import shipped_folder
from mdhfl.learning.own_code import own_code
from mdhfl.preprocessing.raw import reading
from mdhfl.preprocessing.raw.cropping import square
from mdhfl.preprocessing.raw.reading import decode_rgb
from mdhfl.preprocessing.raw.records import SourceOptions
from mdhfl.preprocessing.sources import find_source

BUNDLE = shipped_folder("bundles") / "resnet10"
OWN = {"mdhfl_decoding"}
OTHERS = {"PIL", "monai", "nibabel", "numpy", "pydicom", "tifffile", "torch"}


@pytest.fixture(scope="module")
def transforms() -> ModuleType:
    with own_code(BUNDLE):
        return importlib.import_module("mdhfl_transforms")


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
    read = transforms.ReadPictured("image")
    for path in images:
        item = resize(cut(read({"image": str(path), "label": 1})))
        expected = square(decode_rgb(path.read_bytes()), crop=crop, size=16)
        np.testing.assert_array_equal(item["image"].numpy(), expected.transpose(2, 0, 1), err_msg=path.name)
        assert (item["image"].dtype, item["label"]) == (torch.uint8, 1)


def test_a_picture_that_cannot_be_read_is_named(transforms: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "masked.tiff"
    Image.fromarray(np.array([[0, np.nan]], dtype=np.float32)).save(path)
    with pytest.raises(ValueError, match=r"masked\.tiff: contains values that are not finite.*; leave this file out"):
        transforms.ReadPictured("image")({"image": str(path)})
    assert transforms.ReadPictured("image", nan="black").read(str(path)).max() == 0


def test_slices_of_volumes_are_pictures(transforms: ModuleType, tmp_path: Path) -> None:
    values = np.arange(6 * 8 * 3, dtype=np.int16).reshape(6, 8, 3)
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), tmp_path / "scan.nii.gz")
    nibabel.save(nibabel.Nifti1Image(values[:, :, 0], np.eye(4)), tmp_path / "flat.nii")
    (tmp_path / "notes.txt").write_text("not an image")
    files = transforms.picture_files(str(tmp_path))
    assert [path.name for path in files] == ["flat.nii", *(f"scan.nii.gz#{place:04}" for place in range(3))]
    read = transforms.ReadPictured("image", window=[0, 143])
    with closing(find_source("nifti").open(labelled(tmp_path), options=SourceOptions())) as source:
        for record in source.records():
            expected = source.read(record)
            np.testing.assert_array_equal(read.read(str(tmp_path / record.key)), expected.transpose(2, 0, 1))


def labelled(folder: Path) -> Path:
    (folder / "manifest.csv").write_text("file,class\nscan.nii.gz,a\nflat.nii,b\n")
    return folder


@pytest.mark.parametrize("crop", [0, -1, float("nan")])
def test_a_crop_that_keeps_nothing_is_refused(transforms: ModuleType, crop: float) -> None:
    with pytest.raises(ValueError, match="crop: expected"):
        transforms.CentreSquareCropd("image", crop=crop)


def test_its_modules_need_only_what_a_monai_bundle_has() -> None:
    for path in sorted(BUNDLE.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        named = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        named |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        assert {name.split(".")[0] for name in named} <= OWN | OTHERS | sys.stdlib_module_names, path.name


def test_the_decoder_is_that_of_prepare_to_the_byte() -> None:
    source = Path(reading.__file__).parent
    copies = sorted(path for path in (BUNDLE / "mdhfl_decoding").glob("*.py") if path.stem != "__init__")
    assert len(copies) > 10
    for path in copies:
        text = (source / path.name).read_text(encoding="utf-8")
        assert path.read_text(encoding="utf-8") == text.replace("mdhfl.preprocessing.raw", "mdhfl_decoding")


@given(texts())
@example(WORST)
@example("x;=1 ;'@a")
@settings(deadline=None)
def test_texts_are_safe_in_a_csv_file(transforms: ModuleType, text: str) -> None:
    assert not formulas_in([[part] for part in transforms.csv_text(text).split(";")])
    assert not hidden_in(transforms.csv_text(text))
