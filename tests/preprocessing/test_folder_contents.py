"""What lies in class folders beside pictures: what counts as lost, what is ignored, which links are followed."""

import os
import zipfile
from contextlib import closing
from itertools import product

import pytest
from click.testing import CliRunner
from fakes.raw_images import encoded, picture, png, write_files, write_zip
from PIL import Image

from mdhfl.commands.prepare import prepare_command
from mdhfl.files import read_json
from mdhfl.preprocessing.raw.reading import FORMATS
from mdhfl.preprocessing.raw.records import SourceOptions
from mdhfl.preprocessing.sources import find_source


def run(raw, out, *options):
    arguments = ["folder", "--raw", str(raw), "--out", str(out), "--sites", "2", "--minimum", "4", "--image-size", "8"]
    return CliRunner().invoke(prepare_command, [*arguments, "--workers", "1", *options])


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


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no named pipes")
def test_links_that_lead_out_in_circles_or_nowhere_are_not_followed(tmp_path):
    raw = write_files(tmp_path / "raw", {"a/1.png": png(1), "b/2.png": png(2), "c/d/3.png": png(3)})
    outside = write_files(tmp_path / "raw2", {"4.png": png(4)})
    links = {
        "a/out": outside, "a/4.png": outside / "4.png", "a/none.png": raw / "none.png", "b/up": raw,
        "b/self": raw / "b", "c/other": raw / "b", "b/back": raw / "c", "a/me.png": raw / "a" / "me.png",
    }  # fmt: skip
    os.mkfifo(raw / "a" / "pipe")
    links["a/5.png"] = raw / "a" / "pipe"
    for name, target in links.items():
        (raw / name).symlink_to(target)
    with closing(find_source("folder").open(raw, options=SourceOptions(levels="class"))) as source:
        found = {record.key for record in source.records()}
        assert all("4.png" not in key and "none" not in key and "me.png" not in key for key in found)
        assert {"a/1.png", "b/2.png", "c/d/3.png"} <= found
        assert len(found) <= 6  # a folder is followed once
        lost = {skip.file for skip in source.skipped() if skip.lost}
        assert lost == {"a/out", "a/4.png", "a/none.png", "a/me.png", "a/5.png", "a/pipe"}


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
