"""MedMNIST's files: labels that cannot be right, the order of classes, packed twice, and what many workers take."""

import io
import sys
import zipfile
from contextlib import closing

import numpy as np
import pytest
from click.testing import CliRunner
from fakes.bombs import MB
from fakes.family import peak_of_family
from hypothesis import given
from hypothesis import strategies as st

from mdhfl.commands.prepare import prepare_command
from mdhfl.files import read_json
from mdhfl.preprocessing.raw import stored_array
from mdhfl.preprocessing.raw.records import SourceOptions
from mdhfl.preprocessing.sources import find_source
from mdhfl.preprocessing.sources.medmnist import NAMES, SETS


def npz(labels, *, images=None, side=8, packed=True) -> bytes:
    """An .npz with these labels in each of its parts."""
    labels, arrays = np.asarray(labels), {}
    for seed, split in enumerate(("train", "val", "test")):
        pixels = np.random.default_rng(seed).integers(0, 256, (len(labels), side, side, 3), dtype=np.uint8)
        arrays |= {f"{split}_images": pixels, f"{split}_labels": labels.reshape(len(labels), -1)}
    buffer = io.BytesIO()
    (np.savez_compressed if packed else np.savez)(buffer, **arrays)
    return buffer.getvalue()


def listed(path, data: bytes):
    path.write_bytes(data)
    with closing(find_source("medmnist").open(path, options=SourceOptions())) as source:
        return source.records(), source.understood()


@pytest.mark.parametrize("name", ["bloodmnist", "BloodMNIST_64", "organamnist (1)", "x"])
@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ([0, 1, -1], r"1 of 3 labels in train_labels are no class of .*, first -1 of image 2"),
        ([0.0, 0.7, 1.0], r"first 0\.7 of image 1: expected whole numbers from 0"),
        ([0, np.nan, 1], "first nan of image 1"),
        ([0, 1, 2**40], "first 1099511627776 of image 2"),
        ([0, 1, np.inf], "first inf of image 2"),
    ],
)
def test_labels_that_are_no_class_are_refused_by_name(tmp_path, name, labels, said):
    with pytest.raises(ValueError, match=said) as error:
        listed(tmp_path / f"{name}.npz", npz(labels))
    assert f"{name}.npz" in str(error.value)


@pytest.mark.parametrize("name", sorted(SETS))
def test_a_set_has_so_many_classes_and_no_more(tmp_path, name):
    number = SETS[name]
    records, understood = listed(tmp_path / f"{name}_28.npz", npz(np.arange(number)))
    assert [record.code for record in records[:number]] == list(NAMES.get(name, map(str, range(number))))
    assert understood.notes == ()
    with pytest.raises(ValueError, match=f"from 0 to {number - 1}"):
        listed(tmp_path / f"{name}.npz", npz(np.arange(number + 1)))


@given(
    st.lists(st.integers(-3, 14), min_size=1, max_size=12), st.sampled_from([np.int8, np.uint8, np.int64, np.float32])
)
def test_a_label_is_its_class_or_the_file_is_refused(tmp_path_factory, labels, kind):
    path = tmp_path_factory.mktemp("npz") / "organsmnist.npz"
    array = np.array(labels).astype(kind)
    if min(labels) >= 0 and max(labels) <= 10:
        records, _ = listed(path, npz(array))
        told = {record.key: record.code for record in records}
        assert [told[f"train/{place:06}"] for place in range(len(labels))] == [str(label) for label in labels]
    else:
        with pytest.raises(ValueError, match="are no class of organsmnist"):
            listed(path, npz(array))


def test_unknown_sets_are_refused_and_own_arrays_are_said_to_be_own(tmp_path):
    with pytest.raises(ValueError, match=r"unknown set 'foomnist_64.npz': expected one of bloodmnist, .*another name"):
        listed(tmp_path / "foomnist_64.npz", npz([0, 1]))
    _, understood = listed(tmp_path / "cells.npz", npz([0, 1]))
    (note,) = understood.notes
    assert "cells.npz is no set of MedMNIST" in note


@pytest.mark.parametrize(
    ("name", "number", "classes"),
    [
        ("organamnist", 11, [str(n) for n in range(11)]),
        ("pathmnist", 9, list(NAMES["pathmnist"])),
        ("x", 3, ["0", "1", "2"]),
    ],
)
def test_classes_are_in_the_order_of_their_numbers(tmp_path, name, number, classes):
    raw, out = tmp_path / f"{name}.npz", tmp_path / "fed"
    raw.write_bytes(npz(np.tile(np.arange(number), 6)))
    arguments = ["medmnist", "--raw", str(raw), "--out", str(out), "--sites", "2", "--minimum", "2", "--workers", "1"]
    done = CliRunner().invoke(prepare_command, [*arguments, "--image-size", "8"])
    assert done.exit_code == 0, done.exception
    assert read_json(out / "federation.json")["classes"] == classes


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("packed", [False, True])
def test_the_one_npz_in_a_zip_is_read(tmp_path, method, packed):
    data = npz(np.arange(8), packed=packed)
    with zipfile.ZipFile(tmp_path / "archive.zip", "w", method) as archive:
        archive.writestr("download/bloodmnist.npz", data)
        archive.writestr("__MACOSX/download/._bloodmnist.npz", b"\0")
        archive.writestr("download/README.md", "about")
    (tmp_path / "bloodmnist.npz").write_bytes(data)
    options = SourceOptions()
    with (
        closing(find_source("medmnist").open(tmp_path / "archive.zip", options=options)) as inner,
        closing(find_source("medmnist").open(tmp_path / "bloodmnist.npz", options=options)) as plain,
    ):
        assert inner.records() == plain.records()
        for record in [*inner.records()][::-5]:
            assert (inner.read(record) == plain.read(record)).all()


def test_a_zip_with_several_or_large_or_damaged_npz_is_refused(tmp_path, monkeypatch):
    def zipped(**files):
        with zipfile.ZipFile(tmp_path / "raw.zip", "w") as archive:
            for name, data in files.items():
                archive.writestr(f"{name}.npz", data)
        return tmp_path / "raw.zip"

    def refused(path):
        with pytest.raises(ValueError, match=r"raw\.zip") as error:
            find_source("medmnist").open(path, options=SourceOptions())
        return str(error.value)

    data = npz([0, 1])
    assert "holds 2 .npz; unpack it, and give one of them with --raw" in refused(
        zipped(bloodmnist=data, pathmnist=data)
    )
    assert "bloodmnist.npz: not a readable .npz" in refused(zipped(bloodmnist=data[:200]))
    monkeypatch.setattr(stored_array, "MOST_NESTED", 100)
    assert "bloodmnist.npz: too large: the limit is 100 bytes" in refused(zipped(bloodmnist=data))


def test_other_sources_say_who_reads_arrays_in_a_zip(tmp_path):
    with zipfile.ZipFile(tmp_path / "raw.zip", "w") as archive:
        archive.writestr("a/bloodmnist.npz", npz([0, 1]))
    with closing(find_source("folder").open(tmp_path / "raw.zip", options=SourceOptions())) as source:
        assert source.records() == []
        assert "read them with the source medmnist" in source.skipped()[0].reason


@pytest.mark.skipif(sys.platform != "linux", reason="memory is measured in /proc")
@pytest.mark.slow
@pytest.mark.parametrize("packed", [False, True])
def test_what_workers_take_does_not_depend_on_the_size_of_the_file(tmp_path, packed):
    labels = np.arange(160) % 8
    small, large = tmp_path / "small" / "bloodmnist.npz", tmp_path / "large" / "bloodmnist.npz"
    for path, side in ((small, 32), (large, 224)):
        path.parent.mkdir()
        path.write_bytes(npz(labels, side=side, packed=packed))
    assert large.stat().st_size > 60 * MB
    peaks = {
        (path.parent.name, workers): peak_of_family(path, tmp_path / f"{path.parent.name}{workers}", workers=workers)
        for path in (small, large)
        for workers in (1, 4)
    }
    grown = {workers: peaks["large", workers] - peaks["small", workers] for workers in (1, 4)}
    assert grown[1] < 25
    assert grown[4] < 25
