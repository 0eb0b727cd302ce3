"""One decoder: what is prepared, what a site trains on and what its exported model is shown are the same pixels."""

import importlib
import json
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
from fakes.dicom_files import dicom_file
from fakes.picture_files import as_stored, deepened, png_file, saved, tiff_file, with_opacity
from fakes.raw_images import picture, write_files
from PIL import Image

from mdhfl.files import shipped_folder
from mdhfl.learning.bundle import load_bundle
from mdhfl.learning.images import load_private_set
from mdhfl.learning.own_code import own_code
from mdhfl.preprocessing.arguments import PrepareArguments
from mdhfl.preprocessing.folder.verify import verify_federation
from mdhfl.preprocessing.prepare import prepare

SIZE = 16
Writer = Callable[[np.ndarray], bytes]


def deep_tiff(bits: int, orientation: int, **options: object) -> Writer:
    return lambda seen: tiff_file(deepened(as_stored(seen, orientation), bits), orientation=orientation, **options)


def planar(seen: np.ndarray) -> bytes:
    samples = np.ascontiguousarray(np.moveaxis(deepened(seen, 16), -1, 0))
    return tiff_file(samples, photometric="rgb", planarconfig="separate")


def channels(seen: np.ndarray) -> bytes:
    samples = np.ascontiguousarray(np.moveaxis(seen, -1, 0))[None]
    return tiff_file(samples, imagej=True, metadata={"axes": "ZCYX"})


WRITERS: dict[str, Writer] = {
    "8.png": lambda seen: png_file(seen),
    "turned.png": lambda seen: png_file(as_stored(seen, 6), orientation=6),
    "clear.png": lambda seen: png_file(with_opacity(seen, "nothing")),
    **{f"{bits}.png": lambda seen, bits=bits: png_file(deepened(seen, bits)) for bits in (10, 12, 14, 16)},
    "opaque.png": lambda seen: png_file(with_opacity(deepened(seen, 12), "full")),
    **{f"{bits}.tif": deep_tiff(bits, orientation=bits // 2 - 3, photometric="rgb") for bits in (8, 10, 12, 14, 16)},
    "planar.tiff": planar,
    "channels.tif": channels,
    "real.tif": lambda seen: tiff_file((seen / 255).astype(np.float32), photometric="rgb"),
    "fourth.tif": lambda seen: tiff_file(
        with_opacity(deepened(seen, 12), "unspecified"), photometric="rgb", extrasamples=["unspecified"]
    ),
    "colour.dcm": lambda seen: dicom_file(seen, kind="RGB"),
    "cells.bmp": lambda seen: saved(seen, "BMP"),
    "cells.webp": lambda seen: saved(as_stored(seen, 3), "WEBP", orientation=3, lossless=True),
}


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, np.ndarray]]:
    """One picture of its own a file, two a kind, and what each shows."""
    shown, files = {}, {}
    for number, (name, write) in enumerate(WRITERS.items()):
        for code in "ab":
            seen = picture(2 * number + (code == "b"), height=SIZE, width=SIZE)
            seen[0, 0], seen[-1, -1] = 255, 0
            shown[f"{code}/{name}"], files[f"{code}/{name}"] = seen, write(seen)
    return write_files(tmp_path_factory.mktemp("raw") / "raw", files), shown


def test_prepare_a_site_and_the_exported_bundle_see_the_same(tmp_path: Path, raw: tuple[Path, dict]) -> None:
    folder, shown = raw
    arguments = PrepareArguments(
        "folder", out=tmp_path / "fed", raw=folder, sites=1, minimum=2, public_count=2, image_size=SIZE,
        bad_limit=0,
    )  # fmt: skip
    federation = prepare(arguments, workers=1).federation
    assert verify_federation(tmp_path / "fed", pixels=True) == []
    assert (federation["skipped"], federation["duplicates"]) == (0, 0)
    prepared = [np.asarray(Image.open(path)) for path in sorted((tmp_path / "fed").glob("*/**/images/*.png"))]
    assert len(prepared) == len(shown)
    for name, seen in shown.items():
        closest = min(int(np.abs(one.astype(int) - seen).max()) for one in prepared)
        assert closest <= 1, name
    facts = federation["reading"]["raw"]
    assert "smallest of 8, 10, 12, 14, 16" in facts["rule"]
    assert facts["read_as"]["turned as its orientation says"] == 12
    assert facts["read_as"]["opacity of 0 everywhere ignored"] == 2
    assert facts["read_as"]["3 pages joined as channels"] == 2
    assert any("pictures of different depths, each scaled by its own (10 bits" in note for note in federation["notes"])

    site = tmp_path / "fed" / "sites" / "site-1"
    bundle = load_bundle("resnet10", num_classes=2, image_size=SIZE)
    own = load_private_set(site, decode=bundle.deterministic_transforms, image_size=SIZE)
    parts = (own.training, own.validation, own.test)
    trained_on = {pixels.numpy().tobytes() for part in parts for pixels in part.images.permute(0, 2, 3, 1)}
    assert trained_on <= {one.tobytes() for one in prepared}
    assert len(trained_on) == len(prepared) - 2  # the public set's

    with own_code(shipped_folder("bundles") / "resnet10"):
        served = importlib.import_module("mdhfl_transforms")
    files = served.picture_files(str(folder))
    assert len(files) == len(shown)
    read, resize = served.ReadPictured("image"), served.LanczosResized("image", size=SIZE)
    for path in files:
        pixels = resize(read({"image": str(path)}))["image"].permute(1, 2, 0).numpy()
        assert pixels.tobytes() in {one.tobytes() for one in prepared}, path


def test_a_window_is_the_same_in_prepare_and_in_the_bundle(tmp_path: Path) -> None:
    volumes = [np.random.default_rng(i).normal(-700 if i % 2 else 40, 90, (SIZE, SIZE, 2)) for i in range(8)]
    folder = tmp_path / "raw"
    folder.mkdir()
    for number, values in enumerate(volumes):
        nibabel.save(nibabel.Nifti1Image(values.astype(np.int16), np.diag([-1, 1, 1, 1])), folder / f"v{number}.nii.gz")
    rows = "".join(f"v{number}.nii.gz,{'ab'[number % 2]}\n" for number in range(8))
    (folder / "manifest.csv").write_text(f"file,class\n{rows}")
    arguments = PrepareArguments(
        "nifti", out=tmp_path / "fed", raw=folder, sites=1, minimum=2, public_count=2, image_size=SIZE,
        window="5%,95%",
    )  # fmt: skip
    prepare(arguments, workers=1)
    window = json.loads((tmp_path / "fed" / "federation.json").read_text())["reading"]["raw"]["window"]
    prepared = {np.asarray(Image.open(path)).tobytes() for path in (tmp_path / "fed").glob("*/**/images/*.png")}
    with own_code(shipped_folder("bundles") / "resnet10"):
        served = importlib.import_module("mdhfl_transforms")
    read = served.ReadPictured("image", window=window)
    files = served.picture_files(str(folder))
    assert len(files) == 16
    assert {read.read(str(path)).permute(1, 2, 0).numpy().tobytes() for path in files} == prepared
