"""Which folder level holds the class, which the patient, which the split: found in the names, told, or refused."""

import hashlib
import os
import subprocess
import sys
import time
from collections import Counter
from itertools import product
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from fakes.raw_images import png, write_files, write_zip
from hypothesis import assume, given
from hypothesis import strategies as st

from mdhfl.commands.prepare import prepare_command
from mdhfl.files import read_json
from mdhfl.preprocessing.raw.records import SourceOptions
from mdhfl.preprocessing.sources.folder import list_records

PARTS = {
    "train": "training", "Training": "training", "val": "validation", "valid": "validation", "test": "test",
    "train_images": "training", "TestSet": "test", "Validation Data": "validation", "seg_test": "test",
}  # fmt: skip
CLASSES = st.lists(
    st.sampled_from(["blast", "normal", "B cell", "Eosinophil", "monozyt_ä", "c-ALL", "test"]),
    min_size=2, max_size=5, unique=True,
)  # fmt: skip
PATIENTS = st.one_of(
    st.lists(st.integers(0, 999).map("P{:03}".format), min_size=2, max_size=8, unique=True),
    st.lists(st.integers(0, 99).map("patient {}".format), min_size=2, max_size=8, unique=True),
    st.lists(st.integers(0, 9).map(str), min_size=2, max_size=8, unique=True),
    st.lists(st.uuids().map(str), min_size=2, max_size=5, unique=True),
)
SPLITS = st.lists(st.sampled_from(list(PARTS)), min_size=2, max_size=3, unique=True)


def listed(names, **options):
    """The listing of files that nobody opens."""
    return list_records(SimpleNamespace(names=sorted(names), skipped=[], notes=()), SourceOptions(**options))


def run(raw, out, *options):
    arguments = ["folder", "--raw", str(raw), "--out", str(out), "--sites", "2", "--minimum", "4", "--image-size", "8"]
    return CliRunner().invoke(prepare_command, [*arguments, "--workers", "1", *options])


@given(st.data())
def test_random_trees_of_classes_patients_and_splits(data):
    levels = {"class": data.draw(CLASSES), "group": data.draw(PATIENTS), "split": data.draw(SPLITS)}
    roles = data.draw(st.permutations(["class", *data.draw(st.sets(st.sampled_from(["group", "split"])))]))
    assume("test" not in levels["class"] or roles == ["class"])
    kept = data.draw(st.sampled_from([1, 2, 3]))
    chains = [chain for n, chain in enumerate(product(*(levels[role] for role in roles))) if n % kept == 0 or n < 2]
    assume(all(len({chain[place] for chain in chains}) > 1 for place in range(len(roles))))
    top, below = (
        data.draw(st.sampled_from(["", "cells/", "data/2021/", "test/"])),
        data.draw(st.sampled_from(["", "images/"])),
    )
    names = {f"{top}{'/'.join(chain)}/{below}{i}.png": chain for chain in chains for i in range(2)}
    found = listed(names)
    assert found.skips == []
    for record in found.records:
        told = dict(zip(roles, names[record.key], strict=True))
        assert record.code == told["class"]
        assert (record.group is None) == ("group" not in told)
        assert record.part == (PARTS[told["split"]] if "split" in told else None)
    for one, other in product(found.records[::3], found.records):
        if "group" in roles:
            place = roles.index("group")
            assert (one.group == other.group) == (names[one.key][place] == names[other.key][place])
    assert found.understood.levels.replace("*/", "") == "/".join(roles)


def tree(*levels, images=1):
    return [f"{'/'.join(chain)}/{i}.png" for chain in product(*levels) for i in range(images)]


NESTED = [f"benign/SOB/adenosis/B{i}/{zoom}/1.png" for i in range(3) for zoom in ("40X", "100X")] + [
    f"malignant/SOB/{kind}/{kind[0]}{i}/{zoom}/1.png"
    for kind in ("ductal", "lobular") for i in range(3) for zoom in ("40X", "100X")
]  # fmt: skip


@pytest.mark.parametrize(
    ("names", "levels"),
    [
        (tree("ab"), "class"),
        (tree(["0", "1", "2"]), "class"),
        (tree(["01-NORMO", "05-MONO", "10-EOS"]), "class"),
        (tree(["01-NORMO", "05-MONO", "10-EOS"], ["4711", "4712"]), "class/group"),
        (tree(["test", "normal", "blast"]), "class"),
        (tree(["train"], ["a", "b"]), "*/class"),
        (tree(["contest", "latest", "value"]), "class"),
        (tree(["train", "test"], ["a", "b"], ["images"]), "split/class"),
        (tree(["a", "b"], ["40X", "100X", "x400"]), "class"),
        (tree(["40X", "100X"]), "class"),
        (tree(["fold_0", "fold_1", "fold_2"], ["all", "hem"]), "*/class"),
        ([f"im_{name}/im_{name}/CROPPED/{i}.png" for name in ("Dysk", "Koil") for i in range(2)], "class"),
        ([f"{name}/{name}/P{i}/1.png" for name in ("Dysk", "Koil") for i in range(2)], "class/*/group"),
        (tree(["hospital 1", "hospital 2"], ["P1", "P2", "P3"], ["blast", "normal"]), "group/*/class"),
        ([f"grade{g}/P{4 * g + p}/1.png" for g in range(3) for p in range(4)], "class/group"),
        ([f"{i % 2}/case_{i:03}/{j}.png" for i in range(12) for j in range(2)], "class/group"),
        (["cells/red/a.png", "cells/blue/b.png", "cells/blue/deep/c.png"], "*/class"),
        (["red/a.png", "blue/b.png", "blue/MILLER/c.png", "blue/SMITH/d.png"], "class/group"),
        ([*tree([f"P{i}" for i in range(20)], ["blast", "normal"]), "P1/overview.png"], "group/class"),
    ],
)
def test_levels_that_are_found(names, levels):
    found = listed(names)
    assert found.understood.levels == levels
    lost = {"P1/overview.png"} & set(names)
    assert {skip.file for skip in found.skips if skip.lost} == lost
    assert len(found.records) == len(names) - len(lost)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (NESTED, r"level 1 \(benign, malignant\) or level 3 \(adenosis, ductal, lobular\).*'class/\*/\*/group/\*'"),
        (tree(["red", "blue"], ["SMITH", "MILLER"]), r"level 1 \(blue, red\) or level 2"),
        (tree(["COVID", "Normal"], ["images", "masks"]), r"level 2 \(images, masks\)"),
        (tree(["train", "test", "sample"], ["a", "b"]), "level 1 .* has names of splits beside others"),
        (tree(["train", "other"], ["a", "b"]), "level 1 .* has names of splits beside others"),
        (tree(["train", "test", "more"]), "has names of splits beside others"),
        (tree(["train", "test"], ["a", "b"], ["train", "test"]), "the split may be level 1 .* or level 3"),
        (tree(["0", "1"], ["1", "2", "3"]), "the class may be level 1"),
        ([f"{i % 2}/case{i:03}/slide{i % 3}/1.png" for i in range(12)], r"level 1 \(0, 1\) or level 2 .* or level 3"),
        ([f"P{i}/{i % 2}/1.png" for i in range(9)], r"level 1 .* or level 2 \(0, 1\)"),
    ],
)
def test_levels_that_cannot_be_told_are_refused_with_the_way_out(names, said):
    with pytest.raises(ValueError, match=said) as error:
        listed(names)
    assert "--levels" in str(error.value)
    assert "\n" not in str(error.value)


def test_the_way_out_is_taken():
    found = listed(NESTED, levels="class/*/*/group")
    assert Counter(record.code for record in found.records) == {"benign": 6, "malignant": 12}
    assert len({record.group for record in found.records}) == 9
    found = listed(NESTED, levels="*/*/class")
    assert {record.code for record in found.records} == {"adenosis", "ductal", "lobular"}
    assert {record.group for record in found.records} == {None}
    found = listed(tree(["train", "test", "sample"], ["a", "b"]), levels="split/class")
    assert {skip.file for skip in found.skips if skip.lost} == {"sample/a/0.png", "sample/b/0.png"}


@pytest.mark.parametrize(
    "levels", ["", "group", "class/class", "split/split/class", "class/patient", "a/b", "class//group"]
)
def test_levels_that_make_no_sense_are_refused(tmp_path, levels):
    raw = write_files(tmp_path / "raw", {"a/1.png": png(1)})
    done = run(raw, tmp_path / "fed", "--levels", levels)
    assert "expected a word for each folder level" in str(done.exception)


def test_what_was_understood_is_printed_and_kept(tmp_path):
    patients = {"train": ("p1", "p2"), "test": ("p3",)}
    files = {f"{part}/{name}/{p}/{i}.png": png(hash_of(part, name, p, i)) for part in patients for name in "ab"
             for p in patients[part] for i in range(6)}  # fmt: skip
    raw = write_files(tmp_path / "raw", files)
    done = run(raw, tmp_path / "fed", "--public-count", "4", "--near", "0")
    assert done.exit_code == 0, done.exception
    said = "raw: folder levels split/class/group; split: test, train; class: a, b; group: p1, p2, p3"
    assert said in " ".join(done.output.split())
    assert said in read_json(tmp_path / "fed" / "federation.json")["notes"]


def hash_of(*parts):
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:4], "big")


def test_a_top_folder_called_test_is_a_name(tmp_path):
    raw = write_zip(tmp_path / "raw.zip", {f"test/{'ab'[i % 2]}/{i}.png": png(i) for i in range(40)})
    assert run(raw, tmp_path / "fed").exit_code == 0
    federation = read_json(tmp_path / "fed" / "federation.json")
    assert all(site["training"] > 0 for site in federation["sites"].values())
    assert "raw: everything lies below 'test': taken for a name, not for a split" in federation["notes"]


def test_the_same_bytes_whatever_the_order_of_hashes(tmp_path):
    folders = ("train/Eosinophil", "test/eosinophil", "train/B cell", "test/B-cell", "test/b_cell")
    files = {f"{folder}/{i}.png": png(100 * k + i) for i in range(8) for k, folder in enumerate(folders)}
    raw = write_files(tmp_path / "raw", files)
    outputs = []
    for seed in ("0", "1", "3"):
        command = "import sys; from mdhfl.commands.prepare import prepare_command; prepare_command(sys.argv[1:])"
        arguments = ["folder", "--raw", raw, "--out", tmp_path / seed / "fed", "--sites", "2", "--minimum", "4"]
        subprocess.run(
            [sys.executable, "-c", command, *map(str, arguments), "--image-size", "8", "--workers", "1"],
            check=True, capture_output=True, env={**os.environ, "PYTHONHASHSEED": seed},
        )  # fmt: skip
        top = tmp_path / seed / "fed"
        outputs.append({str(path.relative_to(top)): path.read_bytes() for path in top.rglob("*") if path.is_file()})
    assert outputs[0] == outputs[1] == outputs[2]
    assert read_json(tmp_path / "0" / "fed" / "federation.json")["classes"] == ["B cell", "Eosinophil"]


NAMES = st.lists(
    st.sampled_from(["train", "Test", "val", "P1", "P2", "a", "b", "A", "40X", "0", "1", "fold_1"]), max_size=4
)


@given(st.lists(NAMES, min_size=1, max_size=12))
def test_whatever_the_tree_each_picture_is_listed_or_lost_or_all_is_refused(trees):
    names = {f"{'/'.join([*folders, str(place)])}.png" for place, folders in enumerate(trees)}
    try:
        found = listed(names)
    except ValueError as error:
        refusal = str(error)
    else:
        refusal = ""
    if refusal:
        assert "--levels" in refusal
        return
    lost = {skip.file for skip in found.skips if skip.lost}
    assert {record.key for record in found.records} | lost == names
    assert len(found.records) + len(lost) == len(names)
    for record in found.records:
        assert record.code in record.key.split("/")[:-1]
    assert listed(sorted(names, reverse=True)) == found


def test_many_folders_are_understood_in_linear_time():
    def seconds(patients):
        names = [f"{part}/{name}/P{i:06}/1.png" for part in ("train", "test") for name in "ab" for i in range(patients)]
        started = time.process_time()
        assert len({record.group for record in listed(names).records}) == patients
        return time.process_time() - started

    assert min(seconds(8_000) for _ in range(3)) < 24 * min(seconds(1_000) for _ in range(3))  # linear: 8
