"""Which folder level holds the class, which the patient, which the split: found in the names, told, or refused."""

import hashlib
import os
import subprocess
import sys
import time
import zipfile
from collections import Counter
from contextlib import closing
from itertools import product
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from fakes.raw_images import encoded, picture, png, write_files, write_zip
from hypothesis import assume, given
from hypothesis import strategies as st
from PIL import Image

from mdhfl.commands.prepare import prepare_command
from mdhfl.files import read_json
from mdhfl.preprocessing.raw.reading import FORMATS
from mdhfl.preprocessing.raw.records import SourceOptions
from mdhfl.preprocessing.sources import find_source
from mdhfl.preprocessing.sources.folder import list_records

PARTS = {"train": "training", "Training": "training", "val": "validation", "valid": "validation", "test": "test"}
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
    files = {f"{part}/{name}/{p}/{i}.png": png(hash_of(part, name, p, i)) for part in ("train", "test") for name in "ab"
             for p in (f"{part[0]}1", f"{part[0]}2", f"{part[0]}3") for i in range(3)}  # fmt: skip
    raw = write_files(tmp_path / "raw", files)
    done = run(raw, tmp_path / "fed", "--public-count", "4")
    assert done.exit_code == 0, done.exception
    said = "raw: folder levels split/class/group; split: test, train; class: a, b; group: t1, t2, t3"
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


KINDS = {
    "a/1.jfif": "JPEG", "a/2.jpe": "JPEG", "a/3.jp2": "JPEG2000", "a/4.JPG_large": "PNG", "a/5.bin": "TIFF",
    "a/6.dat": "WEBP", "a/7": "BMP", "a/8.gif2": "GIF", "b/9.png": "JPEG", "b/10.jpg": "JPEG2000", "b/11.scan": "PPM",
}  # fmt: skip


@pytest.mark.parametrize("packed", [False, True])
def test_pictures_are_known_by_their_first_bytes(tmp_path, packed):
    files = {name: encoded(Image.fromarray(picture(seed)), kind) for seed, (name, kind) in enumerate(KINDS.items())}
    others = {"b/study.dcm": bytes(128) + b"DICM", "b/IM0001": bytes(128) + b"DICM", "b/12.txt": b"P6 is a name"}
    files |= others
    raw = write_zip(tmp_path / "raw.zip", files) if packed else write_files(tmp_path / "raw", files)
    with closing(find_source("folder").open(raw, options=SourceOptions())) as source:
        assert {record.key for record in source.records()} == set(files) - {"b/12.txt"}
        assert [(skip.file, skip.lost) for skip in source.skipped()] == [("b/12.txt", False)]
        for record in source.records():
            if record.key in KINDS and KINDS[record.key] in FORMATS:
                assert source.read(record).shape == (20, 24, 3)


@pytest.mark.parametrize(
    ("name", "data", "lost"),
    [
        ("a/scan.nii", b"\x5c\x01\0\0" * 40, True),
        ("a/slide.svs2", bytes(200), True),
        ("a/more.zip", b"PK\3\4" + bytes(99), True),
        ("a/cells.npy", b"\x93NUMPY\1\0", True),
        ("a/list.csv", b"a;b\r\n1;2\r\n", False),
        ("a/Notiz.txt", "Größe".encode("latin-1"), False),
        ("a/table.xlsx", b"PK\3\4" + bytes(99), False),
        ("a/report.pdf", b"%PDF-1.4\n\0\1", False),
        ("LICENSE", b"free", False),
        ("a/empty", b"", False),
        ("a/utf16.csv", "a;b".encode("utf-16"), False),
        (".hidden.png", b"", True),
        (".gitignore", b"x", False),
        (".git/objects/ab/cd", b"\0", False),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_what_looks_like_data_and_is_not_used_counts(tmp_path, packed, name, data, lost):
    files = {"a/1.png": png(1), "b/2.png": png(2), name: data}
    raw = write_zip(tmp_path / "raw.zip", files) if packed else write_files(tmp_path / "raw", files)
    with closing(find_source("folder").open(raw, options=SourceOptions())) as source:
        assert [record.key for record in source.records()] == ["a/1.png", "b/2.png"]
        shown = ".git/" if name.startswith(".git/") else name
        assert [(skip.file, skip.lost) for skip in source.skipped()] == [(shown, lost)]


IGNORED = (".DS_Store", "Thumbs.db", "thumbs.db", "Desktop.ini", "desktop.ini", "._1.png", ".ipynb_checkpoints/1.png")


@pytest.mark.parametrize("packed", [False, True])
def test_what_systems_leave_behind_is_not_worth_a_word(tmp_path, packed):
    files = {"a/1.png": png(1), "b/2.png": png(2), "__MACOSX/a/._1.png": b"\0\1", "@eaDir/a.png": b"\0"}
    files |= {f"a/{name}": b"\0\1\2" for name in IGNORED}
    raw = write_zip(tmp_path / "raw.zip", files) if packed else write_files(tmp_path / "raw", files)
    with closing(find_source("folder").open(raw, options=SourceOptions())) as source:
        assert [record.key for record in source.records()] == ["a/1.png", "b/2.png"]
        assert source.skipped() == []


@pytest.mark.parametrize(("lost", "fails"), [(3, False), (4, True)])
def test_lost_files_count_towards_the_limit(tmp_path, lost, fails):
    files = {f"{name}/{i}.png": png(20 * k + i) for k, name in enumerate("ab") for i in range(15)}
    files |= {f"a/{i}.svs": bytes(200) for i in range(lost)}
    raw = write_files(tmp_path / "raw", files)
    done = run(raw, tmp_path / "fed")
    if not fails:
        assert done.exit_code == 0
        assert f"left out: {lost} files" in done.output
        return
    assert "raw: 4 of 34 files cannot be read or used, more than the limit of 10%" in str(done.exception)
    assert "a/0.svs: not an image file (.svs)" in str(done.exception)
    assert run(raw, tmp_path / "fed", "--bad-limit", "1").exit_code == 0


def test_a_class_never_vanishes_without_a_word(tmp_path):
    files = {f"{name}/{i}.png": png(20 * k + i) for k, name in enumerate("ab") for i in range(40)}
    raw = write_files(tmp_path / "raw", {**files, "blast/1.nii.gz": b"\x1f\x8b\0\0\0"})
    done = run(raw, tmp_path / "fed")
    assert "class folder 'blast' holds no picture that can be used: 1 file(s) left out" in str(done.exception)
    assert "read it with the source nifti" in str(done.exception)


def test_a_manifest_among_folders_is_said_to_be_ignored(tmp_path):
    files = {"data/manifest.csv": b"file,class\na/1.png,x\n", "data/a/1.png": png(1), "data/b/2.png": png(2)}
    for raw in (write_zip(tmp_path / "raw.zip", files), write_files(tmp_path / "raw", files)):
        with closing(find_source("folder").open(raw, options=SourceOptions())) as source:
            assert [record.code for record in source.records()] == ["a", "b"]
            (note,) = source.understood().notes
            assert note.startswith("data/manifest.csv: not used")
            assert "`manifest`" in note


def test_an_empty_folder_beside_classes_is_noted(tmp_path):
    raw = write_files(tmp_path / "raw", {"cells/a/1.png": png(1), "cells/b/2.png": png(2)})
    (raw / "cells" / "blast").mkdir()
    (raw / "cells" / "a" / "empty").mkdir()
    with closing(find_source("folder").open(raw, options=SourceOptions())) as source:
        assert source.understood().notes == ("empty folders, no classes: cells/blast",)


def test_a_public_folder_needs_no_classes(tmp_path):
    private = write_files(tmp_path / "raw", {f"{'ab'[i % 2]}/{i}.png": png(i) for i in range(40)})
    public = {f"{['red', 'blue'][i % 2]}/{['SMITH', 'MILLER'][i // 2 % 2]}/{i}.png": png(100 + i) for i in range(8)}
    shared = write_files(tmp_path / "public", {**public, "top.png": png(99)})
    done = run(private, tmp_path / "fed", "--public", "folder", "--public-raw", str(shared))
    assert done.exit_code == 0, done.exception
    assert read_json(tmp_path / "fed" / "federation.json")["public"]["count"] == 9


@pytest.mark.parametrize("store", [".store", "store"])
def test_links_within_the_folder_are_followed(tmp_path, store):
    raw = write_files(tmp_path / "raw", {"a/1.png": png(1), f"{store}/blast/2.png": png(2), "a/deep.png": png(3)})
    (raw / "blast").symlink_to(f"{store}/blast")
    (raw / "a" / "4.png").symlink_to(raw / store / "blast" / "2.png")
    with closing(find_source("folder").open(raw, options=SourceOptions(levels="class"))) as source:
        keys = {record.key: record.code for record in source.records()}
        assert keys == {"a/1.png": "a", "a/4.png": "a", "a/deep.png": "a", "blast/2.png": "blast"} | (
            {} if store.startswith(".") else {"store/blast/2.png": "store"}
        )
        for record in source.records():
            assert source.read(record).ndim == 3
        assert [skip.file for skip in source.skipped() if skip.lost] == []


def test_links_that_lead_out_in_circles_or_nowhere_are_not_followed(tmp_path):
    raw = write_files(tmp_path / "raw", {"a/1.png": png(1), "b/2.png": png(2), "c/d/3.png": png(3)})
    outside = write_files(tmp_path / "raw2", {"4.png": png(4)})
    links = {
        "a/out": outside, "a/4.png": outside / "4.png", "a/none.png": raw / "none.png", "b/up": raw,
        "b/self": raw / "b", "c/other": raw / "b", "b/back": raw / "c", "a/me.png": raw / "a" / "me.png",
    }  # fmt: skip
    for name, target in links.items():
        (raw / name).symlink_to(target)
    with closing(find_source("folder").open(raw, options=SourceOptions(levels="class"))) as source:
        found = {record.key for record in source.records()}
        assert all("4.png" not in key and "none" not in key and "me.png" not in key for key in found)
        assert {"a/1.png", "b/2.png", "c/d/3.png"} <= found
        assert len(found) <= 6  # a folder is followed once
        lost = {skip.file for skip in source.skipped() if skip.lost}
        assert lost == {"a/out", "a/4.png", "a/none.png", "a/me.png"}


def test_a_class_folder_that_is_a_link_to_elsewhere_is_refused_by_name(tmp_path):
    files = {f"{name}/{i}.png": png(20 * k + i) for k, name in enumerate("ab") for i in range(40)}
    raw = write_files(tmp_path / "raw", files)
    (raw / "blast").symlink_to(write_files(tmp_path / "store", {"1.png": png(99)}))
    assert "class folder 'blast' holds no picture that can be used" in str(run(raw, tmp_path / "fed").exception)
    with zipfile.ZipFile(tmp_path / "raw.zip", "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
        link = zipfile.ZipInfo("blast")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "../store")
    done = run(tmp_path / "raw.zip", tmp_path / "fed")
    assert "class folder 'blast'" in str(done.exception)
    assert "a symbolic link: not followed" in str(done.exception)


def test_many_links_to_each_other_end(tmp_path):
    raw = write_files(tmp_path / "raw", {f"f{i}/1.png": png(i) for i in range(12)})
    for i, j in product(range(12), range(12)):
        (raw / f"f{i}" / f"to{j}").symlink_to(raw / f"f{j}")
    with closing(find_source("folder").open(raw, options=SourceOptions(levels="class"))) as source:
        assert 12 <= len(source.records()) <= 24


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
