"""Each source on a miniature of its own layout, from a folder and from a zip."""

import zipfile
from contextlib import closing

import nibabel
import numpy as np
import pytest
from fakes.raw_images import encoded, picture, png, write_files, write_zip
from PIL import Image

from mdhfl.preprocessing.raw.archive import fingerprint
from mdhfl.preprocessing.raw.records import SourceOptions, UnreadableImageError
from mdhfl.preprocessing.sources import find_source, source_names

LAYOUTS = {
    "acevedo20": (
        {
            "PBC/ig/MMY_1.jpg": "ig/MMY",
            "PBC/ig/MY_2.jpg": "ig/MY",
            "PBC/ig/PMY_3.jpg": "ig/PMY",
            "PBC/ig/IG_4.jpg": "ig/IG",
            "PBC/neutrophil/BNE_5.jpg": "neutrophil/BNE",
            "PBC/neutrophil/SNE_6.jpg": "neutrophil/SNE",
            "PBC/neutrophil/NEUTROPHIL_7.jpg": "neutrophil/NEUTROPHIL",
            "PBC/neutrophil/odd_8.jpg": "neutrophil",
            "PBC/basophil/BA_9.jpg": "basophil",
        }
    ),
    "matek19": {"AML/BAS/BAS_0001.tiff": "BAS", "AML/NGS/NGS_0002.tiff": "NGS", "AML/MOB/MOB_0003.tiff": "MOB"},
    "int20": {"INT/01-NORMO/a.tif": "01-NORMO", "INT/12-LYMPH-reaktiv/b.tif": "12-LYMPH-reaktiv"},
    "folder": {"cells/red/a.png": "red", "cells/blue/b.bmp": "blue", "cells/blue/deep/c.png": "blue"},
}


def image_bytes(name, seed):
    kind = {"jpg": "JPEG", "tiff": "TIFF", "tif": "TIFF", "png": "PNG", "bmp": "BMP"}[name.rpartition(".")[2]]
    image = Image.fromarray(picture(seed))
    if name.endswith("tiff"):
        image.putalpha(255)
    return encoded(image, kind)


def open_raw(name, raw, **options):
    return closing(find_source(name).open(raw, options=SourceOptions(**options)))


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", sorted(LAYOUTS))
def test_codes_and_pixels_of_the_datasets_own_layout(tmp_path, name, packed):
    codes = LAYOUTS[name]
    files = {file: image_bytes(file, seed) for seed, file in enumerate(codes)}
    files["README.txt"] = b"about"
    raw = write_zip(tmp_path / "raw.zip", files) if packed else write_files(tmp_path / "raw", files)
    with open_raw(name, raw) as source:
        records = source.records()
        assert {record.key: record.code for record in records} == codes
        assert records == sorted(records)
        assert [(skip.file, skip.reason) for skip in source.skipped()] == [("README.txt", "not an image file (.txt)")]
        for record in records:
            assert source.read(record).shape == (20, 24, 3)
    card = find_source(name).card
    assert card.name == name
    assert card.title
    assert card.licence
    assert not card.codes or set(codes.values()) <= set(card.codes)


def test_train_and_test_folders_are_kept(tmp_path):
    files = {f"data/{part}/{name}/1.png": png(i) for i, part in enumerate(("train", "val", "test")) for name in "ab"}
    with open_raw("folder", write_files(tmp_path, files)) as source:
        parts = {record.key.split("/")[1]: record.part for record in source.records()}
        assert parts == {"train": "training", "val": "validation", "test": "test"}
        assert [record.code for record in source.records()] == ["a", "b"] * 3


@pytest.mark.parametrize("packed", [False, True])
def test_matek_tiles_and_manifests_know_groups_and_parts(tmp_path, packed):
    table = (
        "file,class,shared5,group,split\nBAS/1.png,BAS,basophil,g1,train\nEOS/2.png,EOS,,g2,test\n"
        "EOS/gone.png,EOS,,g3,\nEOS/2.png,BAS,,g2,\n"
    )
    files = {"AML/manifest.csv": table.encode(), "AML/BAS/1.png": png(1), "AML/EOS/2.png": png(2)}
    raw = write_zip(tmp_path / "raw.zip", files) if packed else write_files(tmp_path / "raw", files)
    for name in ("matek19", "manifest"):
        with open_raw(name, raw) as source:
            assert [(r.key, r.code, r.group, r.part) for r in source.records()] == [
                ("AML/BAS/1.png", "BAS", "g1", "training"),
            ]
            reasons = {skip.file: skip.reason for skip in source.skipped()}
            assert "no such file" in reasons["EOS/gone.png"]
            assert "contradict each other" in reasons["AML/EOS/2.png"]


def test_a_manifest_may_lie_elsewhere_and_use_semicolons(tmp_path):
    raw = write_files(tmp_path / "raw", {"x/1.png": png(1)})
    labels = tmp_path / "labels.csv"
    labels.write_text("Image;Label;Patient\nx/1.png;eosinophil;p7\n")
    with open_raw("manifest", raw, labels=labels) as source:
        assert [(r.key, r.code, r.group) for r in source.records()] == [("x/1.png", "eosinophil", "p7")]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (None, "no table .manifest.csv"),
        ("name,kind\na,b\n", "no column that names the class; .*--columns class=NAME"),
        ("file,class,split\n1.png,a,holiday\n", "expected train, validation or test"),
        (b"file,class\n\x80\xfe,a\n", "UTF-8"),
    ],
)
def test_a_manifest_that_is_none_says_what_was_expected(tmp_path, table, message):
    files = {"1.png": png(1)}
    if table is not None:
        files["manifest.csv"] = table if isinstance(table, bytes) else table.encode()
    with open_raw("manifest", write_files(tmp_path, files)) as source, pytest.raises(ValueError, match=message):
        source.records()


@pytest.mark.parametrize("grey", [False, True])
def test_medmnist_keeps_its_parts(tmp_path, grey):
    shape = (4, 28, 28) if grey else (4, 28, 28, 3)
    arrays = {}
    for seed, split in enumerate(("train", "val", "test")):
        arrays[f"{split}_images"] = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
        arrays[f"{split}_labels"] = np.array([[0], [1], [2], [6]])
    np.savez_compressed(tmp_path / "bloodmnist.npz", **arrays)
    with open_raw("medmnist", tmp_path / "bloodmnist.npz") as source:
        records = source.records()
        assert len(records) == 12
        assert {r.part for r in records} == {"training", "validation", "test"}
        assert {r.code for r in records} == {"basophil", "eosinophil", "erythroblast", "neutrophil"}
        pixels = source.read(records[0])
        assert pixels.shape == (28, 28, 3)
        assert (pixels == np.broadcast_to(arrays["test_images"][0].reshape(28, 28, -1), (28, 28, 3))).all()


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [((4, 9, 9, 9), (4, 1), "volumes"), ((4, 9, 9), (4, 14), "several labels"), (None, (4, 1), "expected the arrays")],
)
def test_medmnist_of_another_kind_is_refused(tmp_path, images, labels, message):
    arrays = {f"{split}_labels": np.zeros(labels, dtype=int) for split in ("train", "val", "test")}
    if images:
        arrays.update({f"{split}_images": np.zeros(images, np.uint8) for split in ("train", "val", "test")})
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(ValueError, match=message):
        find_source("medmnist").open(tmp_path / "x.npz", options=SourceOptions())
    (tmp_path / "y.npz").write_bytes((tmp_path / "x.npz").read_bytes()[:50])
    with pytest.raises(ValueError, match=r"not a readable \.npz"):
        find_source("medmnist").open(tmp_path / "y.npz", options=SourceOptions())


@pytest.mark.parametrize("packed", [False, True])
def test_nifti_slices_and_pictures(tmp_path, packed):
    folder = tmp_path / "raw"
    folder.mkdir()
    volume = np.random.default_rng(0).normal(size=(10, 12, 3)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(volume, np.eye(4)), folder / "scan.nii.gz")
    nibabel.save(nibabel.Nifti1Image(volume[:, :, :1], np.eye(4)), folder / "flat.nii")
    (folder / "broken.nii").write_bytes(b"no header")
    rows = "file,class,group\nscan.nii.gz,a,\nflat.nii,b,p1\nscan.nii.gz#2,c,p2\nbroken.nii,a,\ngone.nii,a,\n"
    (folder / "manifest.csv").write_text(rows)
    raw = folder
    if packed:
        raw = write_zip(tmp_path / "raw.zip", {path.name: path.read_bytes() for path in folder.iterdir()})
    with open_raw("nifti", raw) as source:
        records = {record.key: record for record in source.records()}
        assert {key: (r.code, r.group) for key, r in records.items()} == {
            "scan.nii.gz#0000": ("a", "scan.nii.gz"),
            "scan.nii.gz#0001": ("a", "scan.nii.gz"),
            "flat.nii": ("b", "p1"),
            "broken.nii": ("a", "broken.nii"),
        }
        pixels = source.read(records["scan.nii.gz#0001"])
        assert pixels.shape == (12, 10, 3)
        low, high = volume.min(), volume.max()  # of all slices together
        expected = np.rint((volume[:, :, 1].T - low) * (255 / (high - low)))
        assert np.abs(pixels[:, :, 0] - expected).max() <= 1
        assert source.read(records["flat.nii"]).shape == (12, 10, 3)
        with pytest.raises(UnreadableImageError, match="damaged or unknown NIfTI"):
            source.read(records["broken.nii"])
        assert [skip.file for skip in source.skipped()] == ["gone.nii", "scan.nii.gz#0002"]


@pytest.mark.parametrize("member", ["../evil.png", "/etc/evil.png", "a/../../evil.png", "..\\evil.png", "C:\\evil.png"])
def test_a_zip_that_points_outside_is_refused(tmp_path, member):
    write_zip(tmp_path / "raw.zip", {"a/1.png": png(1), member: png(2)})
    with pytest.raises(ValueError, match="points outside the zip"):
        find_source("folder").open(tmp_path / "raw.zip", options=SourceOptions())


def test_links_are_not_followed_and_empty_folders_are_named(tmp_path):
    raw = write_files(tmp_path / "raw", {"a/1.png": png(1), "b/2.png": png(2)})
    (tmp_path / "secret.png").write_bytes(png(3))
    (raw / "a" / "link.png").symlink_to(tmp_path / "secret.png")
    (raw / "c").mkdir()
    with open_raw("folder", raw) as source:
        assert [record.key for record in source.records()] == ["a/1.png", "b/2.png"]
        assert {skip.file: skip.reason for skip in source.skipped()} == {
            "a/link.png": "a symbolic link: not followed",
            "c/": "an empty folder",
        }


def test_links_in_a_zip_are_not_followed_and_empty_folders_are_named(tmp_path):
    with zipfile.ZipFile(tmp_path / "raw.zip", "w") as archive:
        archive.writestr("a/1.png", png(1))
        link = zipfile.ZipInfo("a/link.png")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
        archive.writestr(zipfile.ZipInfo("empty/"), b"")
    with open_raw("folder", tmp_path / "raw.zip") as source:
        assert [record.key for record in source.records()] == ["a/1.png"]
        assert [skip.file for skip in source.skipped()] == ["a/link.png", "empty/"]


def test_a_damaged_zip_is_named_and_a_damaged_member_is_skipped(tmp_path):
    raw = write_zip(tmp_path / "raw.zip", {"a/1.png": png(1)})
    data = bytearray(raw.read_bytes())
    data[100] ^= 0xFF
    raw.write_bytes(data)
    with open_raw("folder", raw) as source, pytest.raises(UnreadableImageError, match="cannot be unpacked"):
        source.read(source.records()[0])
    raw.write_bytes(data[:60])
    with pytest.raises(ValueError, match="not a readable zip"):
        find_source("folder").open(raw, options=SourceOptions())
    with pytest.raises(ValueError, match="no such file or folder"):
        find_source("folder").open(tmp_path / "nowhere", options=SourceOptions())


def test_what_operating_systems_leave_behind_is_ignored(tmp_path):
    files = {"a/1.png": png(1), "__MACOSX/a/._1.png": b"x", "a/.DS_Store": b"x", "a/Thumbs.db": b"x"}
    with open_raw("folder", write_zip(tmp_path / "raw.zip", files)) as source:
        assert len(source.records()) == 1
        assert source.skipped() == []


def test_a_fingerprint_changes_with_the_data(tmp_path):
    first = write_zip(tmp_path / "1.zip", {"a/1.png": png(1)})
    second = write_zip(tmp_path / "2.zip", {"a/1.png": png(2)})
    assert fingerprint(first) == fingerprint(first)
    assert fingerprint(first) != fingerprint(second)
    folder = write_files(tmp_path / "raw", {"a/1.png": png(1)})
    before = fingerprint(folder)
    write_files(folder, {"a/2.png": png(2)})
    assert fingerprint(folder) != before


def test_every_file_in_sources_is_a_source():
    for name in source_names():
        source = find_source(name)
        assert source.card.name == name
        assert callable(source.open)
    with pytest.raises(ValueError, match="unknown source 'nothing': expected one of acevedo20"):
        find_source("nothing")


def test_the_real_layouts(shared_data):
    expected = {
        "acevedo20": ("acevedo20_64px.zip", 17092, 14),
        "matek19": ("matek19_tiles_108px.zip", 852, 15),
        "manifest": ("bccd.zip", 351, 5),
    }
    for name, (file, images, codes) in expected.items():
        with open_raw(name, shared_data / file) as source:
            records = source.records()
            assert len(records) == images
            assert len({record.code for record in records}) in (codes, codes - 1)
            assert source.read(records[0]).ndim == 3
    with open_raw("matek19", shared_data / "matek19_subset.zip") as source:
        assert source.read(source.records()[0]).shape == (360, 360, 3)
