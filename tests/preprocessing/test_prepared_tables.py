"""What `prepare` makes of a table of labels: told first, half of it lost an error, folds as asked."""

from contextlib import closing

import nibabel
import numpy as np
import pytest
from click.testing import CliRunner
from fakes.prepared import items, load, make
from fakes.raw_images import picture, png, write_files
from fakes.tables import text_of
from PIL import Image

from mdhfl.commands.prepare import prepare_command
from mdhfl.digests import image_digest
from mdhfl.preprocessing.raw.records import SourceOptions
from mdhfl.preprocessing.sources import find_source


def digest_of(seed):
    image = Image.fromarray(picture(seed)[:, 2:22]).resize((16, 16), Image.Resampling.LANCZOS)
    return image_digest(np.asarray(image))


def pictures(tmp_path, table, *, count=40, where="manifest.csv"):
    files = {f"img_{i:03}.png": png(i) for i in range(count)}
    return write_files(tmp_path / "raw", {**files, where: table.encode()})


def test_what_was_understood_is_told_before_anything_is_written(tmp_path):
    rows = [(f"H{i // 2}", f"img_{i:03}", "abc"[i % 3]) for i in range(40)]
    raw = pictures(tmp_path, text_of([("lesion_id", "image_id", "dx"), *rows]), where="HAM10000_metadata.csv")
    arguments = [
        "manifest",
        "--raw",
        str(raw),
        "--sites",
        "2",
        "--minimum",
        "4",
        "--workers",
        "1",
        "--image-size",
        "16",
    ]
    done = CliRunner().invoke(prepare_command, [*arguments, "--out", str(tmp_path / "fed")], terminal_width=300)
    assert done.exit_code == 0, done.output
    words = " ".join(done.output.split())
    assert "image in image_id, class in dx, group in lesion_id" in words
    assert words.index("image in image_id") < words.index("images per site")
    assert words.count("image in image_id") == 1
    notes = load(tmp_path / "fed", "federation.json")["notes"]
    assert "raw: HAM10000_metadata.csv: 40 rows, 40 read (a 14, b 13, c 13)" in notes
    groups = [item["group"] for site in ("site-1", "site-2") for item in items(tmp_path / "fed", site)]
    assert set(groups) <= {f"H{i}" for i in range(20)}


def test_nifti_reads_tables_by_the_same_rules(tmp_path):
    volume = np.random.default_rng(0).normal(size=(10, 12, 3)).astype(np.float32)
    for name in ("s/one.nii.gz", "s/two.nii.gz", "s/three.nii.gz"):
        (tmp_path / "s").mkdir(exist_ok=True)
        nibabel.save(nibabel.Nifti1Image(volume, np.eye(4)), tmp_path / name)
    rows = [
        ("/pacs/s/one.nii.gz#0", "2.0", "P1"),
        ("S\\ONE.NII.GZ#1", "2", ""),
        ("s/two.nii.gz", "3", ""),
        ("s/two.nii.gz#2", "4", ""),
        ("s/two.nii.gz#1", "3.0", ""),
        ("three#0", "nan", "P3"),
        ("four#0", "3", "P4"),
    ]
    (tmp_path / "labels.csv").write_text(text_of([("Scan File", "Diagnosis", "Patient"), *rows]))
    options = SourceOptions(columns="image=Scan File")
    with closing(find_source("nifti").open(tmp_path, options=options)) as source:
        assert [(r.key, r.code, r.group) for r in source.records()] == [
            ("s/one.nii.gz#0000", "2", "P1"),
            ("s/one.nii.gz#0001", "2", "P1"),
            ("s/two.nii.gz#0000", "3", "s/two.nii.gz"),
            ("s/two.nii.gz#0001", "3", "s/two.nii.gz"),
        ]
        reading = source.understood().table
        assert dict(reading.skipped) == {
            "without a file": 1,
            "without a class": 1,
            "listed twice": 1,
            "contradicting each other": 1,
        }
        assert (reading.rows, reading.read, reading.loosely, reading.contradicting) == (7, 3, 2, 1)
        assert [skip.file for skip in source.skipped()] == ["four#0", "s/two.nii.gz", "s/two.nii.gz#0002", "three#0"]


@pytest.mark.parametrize("source", ["manifest", "matek19"])
def test_half_of_the_rows_lost_is_an_error_and_names_some(tmp_path, source):
    rows = [(f"img_{i:03}.png" if i % 2 else f"other_{i:03}.png", "ab"[i % 4 // 2]) for i in range(40)]
    raw = pictures(tmp_path, text_of([("file", "class"), *rows]))
    with pytest.raises(ValueError, match=r"20 of 40 rows of manifest.csv give no picture, more than .* 10% .other_000"):
        make(raw, tmp_path / "fed", source=source, label_space="auto")
    assert not (tmp_path / "fed").exists()
    federation = make(raw, tmp_path / "fed", source=source, bad_limit=0.5, public_count=4).federation
    assert federation["skipped"] == 20


def test_rows_without_a_file_and_unreadable_files_count_together(tmp_path):
    rows = [(f"img_{i:03}.png", "ab"[i % 2]) for i in range(43)]  # three have no file
    raw = pictures(tmp_path, text_of([("file", "class"), *rows]))
    make(raw, tmp_path / "fed", source="manifest", public_count=4)
    for i in range(3):
        (raw / f"img_{i:03}.png").write_bytes(b"broken")
    with pytest.raises(ValueError, match="6 of 43 files cannot be read or used"):
        make(raw, tmp_path / "fed2", source="manifest", public_count=4)


def test_too_many_rows_without_a_class_or_in_contradiction_are_an_error(tmp_path):
    names = [f"img_{i:03}.png" for i in range(40)]
    few = [(name, "ab"[i % 2] if i % 2 or i > 24 else "") for i, name in enumerate(names)]
    raw = pictures(tmp_path, text_of([("file", "class"), *few]))
    make(raw, tmp_path / "fed", source="manifest", public_count=4)
    many = [(name, "ab"[i % 2] if i > 24 else "") for i, name in enumerate(names)]
    raw = pictures(tmp_path, text_of([("file", "class"), *many]))
    with pytest.raises(ValueError, match=r"25 of 40 rows of manifest.csv have no class in class"):
        make(raw, tmp_path / "fed2", source="manifest", public_count=4)
    boxes = [(name, code) for name in names[:30] for code in "ab"]
    raw = pictures(tmp_path, text_of([("file", "class"), *boxes, *[(name, "a") for name in names[30:]]]))
    with pytest.raises(ValueError, match=r"contradict each other about 30 of 40 pictures"):
        make(raw, tmp_path / "fed3", source="manifest", public_count=4)


def test_a_fold_is_the_test_part_and_nothing_else_is(tmp_path):
    rows = [(f"img_{i:03}.png", "ab"[i % 2], i % 5) for i in range(100)]
    raw = pictures(tmp_path, text_of([("file", "class", "fold"), *rows]), count=100)
    make(raw, tmp_path / "fed", source="manifest", fold=3, validation=0.2, public_count=10)
    fold = {digest_of(i) for i in range(3, 100, 5)}
    for site in ("site-1", "site-2"):
        for part in ("training", "validation", "test"):
            found = {item["digest"] for item in items(tmp_path / "fed", site, part)}
            assert found
            assert found <= fold if part == "test" else not found & fold


def test_options_for_tables_where_there_is_none_are_refused(tmp_path):
    raw = write_files(tmp_path / "raw", {f"{name}/{i}.png": png(i) for i, name in enumerate("ab" * 20)})
    for changes in ({"fold": "3"}, {"columns": "class=dx"}):
        with pytest.raises(ValueError, match="are for tables of labels, but folder reads none"):
            make(raw, tmp_path / "fed", source="folder", **changes)


def test_a_public_tables_split_does_not_matter(tmp_path):
    rows = [(f"img_{i:03}.png", "ab"[i % 2], i % 5) for i in range(40)]
    raw = pictures(tmp_path, text_of([("file", "class", "fold"), *rows]))
    private = write_files(tmp_path / "private", {f"{name}/{i}.png": png(100 + i) for i, name in enumerate("ab" * 20)})
    federation = make(private, tmp_path / "fed", public="manifest", public_raw=raw).federation
    assert federation["public"]["count"] == 20
