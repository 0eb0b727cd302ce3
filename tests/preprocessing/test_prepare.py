"""From raw data to a federation folder: determinism, bad input, and what the cards say."""

from pathlib import Path

import numpy as np
import pytest
from fakes.prepared import COUNTS, items, load, make, tree
from fakes.raw_images import class_folders, encoded, picture, png, write_files, write_zip
from PIL import Image

from mdhfl.digests import image_digest
from mdhfl.preprocessing.arguments import PrepareArguments
from mdhfl.preprocessing.folder.verify import verify_federation
from mdhfl.preprocessing.prepare import prepare


@pytest.fixture
def cells(tmp_path):
    return write_zip(tmp_path / "cells.zip", class_folders(COUNTS))


def test_a_folder_of_classes_becomes_a_federation(tmp_path, cells):
    federation = make(cells, tmp_path / "fed").federation
    assert federation["classes"] == ["blue", "green", "red"]
    assert federation["public"]["count"] == 20
    assert federation["skipped"] == federation["duplicates"] == federation["unused"] == 0
    everything = [item for site in federation["sites"] for item in items(tmp_path / "fed", site)]
    public = load(tmp_path / "fed", "public/datalist.json")["public"]
    assert len({item["digest"] for item in [*everything, *public]}) == 120
    assert all(set(item) == {"image", "digest"} for item in public)
    assert verify_federation(tmp_path / "fed", pixels=True) == []
    card = load(tmp_path / "fed", "sites/site-1/card.json")
    assert card["noise"]["kind"] == "none"
    assert sum(card["counts"]["training"].values()) == federation["sites"]["site-1"]["training"]
    with Image.open(tmp_path / "fed" / "sites" / "site-1" / items(tmp_path / "fed", "site-1")[0]["image"]) as image:
        assert (image.mode, image.size, image.format) == ("RGB", (16, 16), "PNG")
    assert not list(tmp_path.glob("*.tmp"))


def test_the_same_arguments_give_the_same_bytes_with_one_process_and_with_two(tmp_path, cells):
    arguments = {
        "source": "folder", "raw": cells, "sites": 3, "image_size": 16, "split": "dirichlet", "noise": "symmetric",
        "noise_rate": (0.2,), "minimum": 5, "seed": 4,
    }  # fmt: skip
    prepare(PrepareArguments(out=tmp_path / "1" / "fed", **arguments), workers=1)
    prepare(PrepareArguments(out=tmp_path / "2" / "fed", **arguments), workers=2)
    prepare(PrepareArguments(out=tmp_path / "3" / "fed", **{**arguments, "seed": 5}), workers=1)
    assert tree(tmp_path / "1") == tree(tmp_path / "2")
    assert tree(tmp_path / "1") != tree(tmp_path / "3")


def test_a_rerun_does_nothing_other_arguments_are_refused_and_overwrite_replaces(tmp_path, cells):
    out = tmp_path / "fed"
    assert not make(cells, out).up_to_date
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    assert make(cells, out).up_to_date
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before
    with pytest.raises(ValueError, match=r"seed was 0, now 1.*--overwrite"):
        make(cells, out, seed=1)
    assert make(cells, out, seed=1, overwrite=True).federation["arguments"]["seed"] == 1
    write_zip(cells, class_folders(COUNTS, start=500))
    with pytest.raises(ValueError, match="raw data or another version"):
        make(cells, out, seed=1)


def test_a_changed_noise_file_is_noticed(tmp_path, cells):
    matrix = tmp_path / "m.csv"
    matrix.write_text("0.5,0.5,0\n0,1,0\n0,0,1\n")
    make(cells, tmp_path / "fed", noise="matrix", noise_matrix=matrix)
    matrix.write_text("0.4,0.6,0\n0,1,0\n0,0,1\n")
    with pytest.raises(ValueError, match="raw data or another version"):
        make(cells, tmp_path / "fed", noise="matrix", noise_matrix=matrix)


def test_a_damaged_federation_folder_is_made_again(tmp_path, cells):
    out = tmp_path / "fed"
    make(cells, out)
    image = out / "public" / load(out, "public/datalist.json")["public"][0]["image"]
    before = image.read_bytes()
    image.unlink()
    assert not make(cells, out).up_to_date
    assert image.read_bytes() == before


def test_something_else_is_never_overwritten(tmp_path, cells):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("words")
    with pytest.raises(ValueError, match="not a federation folder, so it is not replaced"):
        make(cells, tmp_path / "thesis", overwrite=True)
    assert (tmp_path / "thesis" / "chapter.txt").read_text() == "words"


def test_an_interrupted_run_leaves_no_half_folder_and_keeps_the_old_one(tmp_path, cells):
    out = tmp_path / "fed"
    make(cells, out)
    before = tree(out)

    def interrupt(stage, done, total):
        if stage == "writing sites":
            raise KeyboardInterrupt

    new = PrepareArguments(source="folder", raw=cells, out=out, sites=2, image_size=8, overwrite=True)
    with pytest.raises(KeyboardInterrupt):
        prepare(new, progress=interrupt, workers=1)
    assert tree(out) == before
    assert not list(tmp_path.glob("*.tmp"))


def test_every_bad_file_is_skipped_with_its_reason(tmp_path):
    grey = Image.fromarray(picture(9000)).convert("L")
    deep = Image.fromarray(np.arange(400, dtype=np.uint16).reshape(20, 20) * 100)
    files = {
        **class_folders(COUNTS),
        "cells/red/grey.png": encoded(grey),
        "cells/red/cmyk.jpg": encoded(Image.fromarray(picture(9001)).convert("CMYK"), "JPEG"),
        "cells/red/alpha.png": encoded(Image.fromarray(picture(9002)).convert("RGBA")),
        "cells/red/deep.png": encoded(deep),
        "cells/red/zero.png": b"",
        "cells/red/words.png": b"words",
        "cells/red/short.png": png(9003)[:300],
        "cells/red/notes.txt": b"a note",
        "cells/red/twin.png": png(0),
        "top.png": png(9004),
    }
    raw = write_files(tmp_path / "raw", files)
    (raw / "cells" / "yellow").mkdir()
    federation = make(raw, tmp_path / "fed", public_count=10).federation
    card = load(tmp_path / "fed", "sites/site-1/card.json")
    reasons = {Path(skip["file"]).name: skip["reason"] for skip in card["skipped"]}
    assert set(reasons) == {"zero.png", "words.png", "short.png", "notes.txt", "twin.png", "yellow", "top.png"}
    assert "0 bytes" in reasons["zero.png"]
    assert "damaged or truncated" in reasons["short.png"]
    assert "duplicate: same pixels as cells/red/0000.png" in reasons["twin.png"]
    assert reasons["yellow"] == "an empty folder"
    assert federation["skipped"] == 7
    assert federation["duplicates"] == 1
    used = sum(site[part] for site in federation["sites"].values() for part in ("training", "validation", "test"))
    assert used + federation["public"]["count"] == sum(COUNTS.values()) + 4
    assert federation["classes"] == ["blue", "green", "red"]


def test_too_many_bad_files_stop_it_and_nothing_is_left(tmp_path):
    files = {**class_folders({"a": 10, "b": 10}), **{f"cells/a/bad{i}.png": b"bad" for i in range(5)}}
    raw = write_zip(tmp_path / "raw.zip", files)
    with pytest.raises(ValueError, match=r"5 of 25 images cannot be read, more than the limit of 10%.*--bad-limit 1"):
        make(raw, tmp_path / "fed", public_count=2)
    assert not (tmp_path / "fed").exists()
    assert make(raw, tmp_path / "fed", public_count=2, bad_limit=1.0).federation["skipped"] == 5


def test_twins_of_different_classes_are_both_left_out(tmp_path):
    files = {**class_folders(COUNTS), "cells/blue/twin.png": png(0)}  # also cells/red/0000.png
    federation = make(write_zip(tmp_path / "raw.zip", files), tmp_path / "fed").federation
    assert federation["duplicates"] == 2
    skips = load(tmp_path / "fed", "sites/site-1/card.json")["skipped"]
    assert all("which is right is unknown" in skip["reason"] for skip in skips)
    assert image_digest(picture(0)) not in {item["digest"] for item in items(tmp_path / "fed", "site-1")}


def test_a_class_with_one_image_is_trained_on_and_noted(tmp_path):
    raw = write_zip(tmp_path / "raw.zip", class_folders({"a": 30, "b": 30, "rare": 1}))
    federation = make(raw, tmp_path / "fed", sites=1, public_count=1, seed=3).federation
    card = load(tmp_path / "fed", "sites/site-1/card.json")
    assert card["counts"]["training"]["rare"] == 1
    assert federation["notes"] == ["site-1: a single image of rare, used for training and not tested"]


def test_a_single_class_and_no_pictures_are_refused(tmp_path):
    with pytest.raises(ValueError, match="at least 2"):
        make(write_zip(tmp_path / "1.zip", class_folders({"a": 9})), tmp_path / "fed")
    with pytest.raises(ValueError, match=r"no pictures found in .* first x/notes.txt: not an image file"):
        make(write_zip(tmp_path / "2.zip", {"x/notes.txt": b"x"}), tmp_path / "fed")
    with pytest.raises(ValueError, match="points outside the zip"):
        make(write_zip(tmp_path / "3.zip", {"../x.png": png(1)}), tmp_path / "fed")
