"""From raw data to a federation folder: determinism, bad input, and what the cards say."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from fakes.raw_images import class_folders, encoded, picture, png, write_files, write_zip
from PIL import Image

from mdhfl.commands.prepare import prepare_command
from mdhfl.digests import image_digest
from mdhfl.preprocessing.arguments import PrepareArguments
from mdhfl.preprocessing.folder.verify import verify_federation
from mdhfl.preprocessing.placing import take_for_server
from mdhfl.preprocessing.pool.read import Picture
from mdhfl.preprocessing.prepare import prepare
from mdhfl.preprocessing.raw.records import Record

COUNTS = {"red": 60, "blue": 40, "green": 20}


@pytest.fixture
def cells(tmp_path):
    return write_zip(tmp_path / "cells.zip", class_folders(COUNTS))


def make(raw, out, **changes):
    defaults = {"source": "folder", "sites": 2, "image_size": 16, "public_count": 20, "minimum": 5}
    return prepare(PrepareArguments(raw=raw, out=out, **{**defaults, **changes}), workers=1)


def load(out, name):
    return json.loads((Path(out) / name).read_text())


def items(out, site, *parts):
    datalist = load(out, f"sites/{site}/datalist.json")
    return [item for part in parts or ("training", "validation", "test") for item in datalist[part]]


def tree(folder):
    """Every file below a folder and a digest of its bytes."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


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


@pytest.mark.parametrize(("kind", "rates"), [("symmetric", (0.3,)), ("pairflip", (0.0, 0.4)), ("matrix", ())])
def test_noise_turns_training_labels_only_and_at_its_rate(tmp_path, cells, kind, rates):
    (tmp_path / "m.csv").write_text("0.5,0.5,0\n0,1,0\n0,0,1\n")
    matrix = tmp_path / "m.csv" if kind == "matrix" else None
    make(cells, tmp_path / "clean")
    make(cells, tmp_path / "fed", noise=kind, noise_rate=rates, noise_matrix=matrix)
    for number, site in enumerate(("site-1", "site-2")):
        noise = load(tmp_path / "fed", f"sites/{site}/card.json")["noise"]
        training = items(tmp_path / "fed", site, "training")
        clean = items(tmp_path / "clean", site, "training")
        assert items(tmp_path / "fed", site, "validation", "test") == items(
            tmp_path / "clean", site, "validation", "test"
        )
        assert [item["digest"] for item in training] == [item["digest"] for item in clean]
        if kind == "pairflip" and number == 0:
            assert noise["kind"] == "none"
            assert training == clean
            continue
        assert [item["clean_label"] for item in training] == [item["label"] for item in clean]
        flipped = np.mean([item["label"] != item["clean_label"] for item in training])
        assert noise["realised_rate"] == pytest.approx(flipped, abs=1e-6)
        assert noise["rate"] == pytest.approx(noise["realised_rate"], abs=3 / len(training))
        assert np.sum(noise["matrix"]) == len(training)


def test_per_site_is_met_exactly_and_the_other_parts_in_proportion(tmp_path, cells):
    federation = make(cells, tmp_path / "fed", per_site=28, split="dirichlet", alpha=0.3).federation
    for site in federation["sites"].values():
        assert (site["training"], site["validation"], site["test"]) == (28, 4, 8)
    with pytest.raises(ValueError, match=r"need \d+, the pool has 100.*--per-site"):
        make(cells, tmp_path / "fed2", per_site=40)


def test_a_group_lies_in_one_part_of_one_site_and_never_in_the_public_set(tmp_path):
    rows = ["file,class,group"] + [f"{i}.png,{'ab'[i % 2]},g{i // 4}" for i in range(120)]
    files = {"manifest.csv": "\n".join(rows).encode(), **{f"{i}.png": png(i) for i in range(120)}}
    raw = write_zip(tmp_path / "raw.zip", files)
    for number, split in enumerate(("iid", "dirichlet", "quantity")):
        out = tmp_path / f"fed{number}"
        make(raw, out, source="manifest", sites=3, split=split, public_count=18)
        homes = {}
        for site in ("site-1", "site-2", "site-3"):
            for part in ("training", "validation", "test"):
                for item in items(out, site, part):
                    homes.setdefault(item["group"], set()).add((site, part))
        assert all(len(home) == 1 for home in homes.values())
        shown = {item["digest"] for item in load(out, "public/datalist.json")["public"]}
        groups_shown = {f"g{i // 4}" for i in range(120) if digest_of(i) in shown}
        assert not groups_shown & set(homes)


def digest_of(seed):
    image = Image.fromarray(picture(seed)[:, 2:22]).resize((16, 16), Image.Resampling.LANCZOS)
    return image_digest(np.asarray(image))


def test_a_split_that_the_source_fixes_is_kept(tmp_path):
    parts = ("train",) * 6 + ("val",) * 2 + ("test",) * 2
    rows = ["file,class,split"] + [f"{i}.png,{'ab'[i % 2]},{parts[i % 10]}" for i in range(100)]
    files = {"manifest.csv": "\n".join(rows).encode(), **{f"{i}.png": png(i) for i in range(100)}}
    out = tmp_path / "fed"
    make(write_zip(tmp_path / "raw.zip", files), out, source="manifest", public_count=10)
    fixed = {digest_of(i): parts[i % 10] for i in range(100)}
    for part, name in (("training", "train"), ("validation", "val"), ("test", "test")):
        assert {fixed[item["digest"]] for site in ("site-1", "site-2") for item in items(out, site, part)} == {name}


def test_sites_by_source_and_a_public_set_from_another(tmp_path):
    first = write_zip(tmp_path / "north.zip", class_folders({"a": 30, "b": 30}))
    second = write_zip(tmp_path / "south.zip", class_folders({"a": 30, "b": 20}, start=1000))
    shown = write_zip(tmp_path / "public.zip", {**class_folders({"x": 15}, start=5000), "cells/x/known.png": png(0)})
    out = tmp_path / "fed"
    prepared = make(
        first, out, sites=None, also=(f"folder={second}",), public="folder", public_raw=shown, public_count=None
    )
    assert prepared.federation["public"]["count"] == 15
    assert [load(out, f"sites/site-{i}/card.json")["origin"] for i in (1, 2)] == [["north"], ["south"]]
    assert {item["digest"] for item in items(out, "site-1")} == {digest_of(i) for i in range(60)}
    assert "same pixels as cells/a/0000.png" in load(out, "public/card.json")["skipped"][0]["reason"]
    with pytest.raises(ValueError, match=r"sites=3, but the data has 2 origin\(s\) \(north, south\)"):
        make(first, tmp_path / "fed3", sites=3, also=(f"folder={second}",), split="by_source")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"source": "nothing"}, "source='nothing': expected one of"),
        ({"noise": "symmetric"}, "give its rate with --noise-rate"),
        ({"noise": "matrix"}, "--noise-matrix"),
        ({"noise": "symmetric", "noise_rate": (0.1, 0.2, 0.3)}, "expected 1 or 2"),
        ({"noise": "symmetric", "noise_rate": (1.2,)}, "from 0 to 1"),
        ({"public": "matek19"}, "--public-raw"),
        ({"sites": 0}, "sites=0"),
        ({"image_size": 2}, "image_size=2"),
        ({"validation": 0.5, "test": 0.5}, "with a sum below 1"),
        ({"alpha": 0.0, "split": "dirichlet"}, "alpha"),
        ({"crop": ("nose",)}, "crop"),
        ({"crop": ("matek19=0.5",)}, "not a source of this run"),
        ({"also": ("matek19",)}, "expected name=path"),
        ({"label_space": "acevedo8"}, "no entry for 3"),
        ({"classes": ("red", "pink")}, "expected at least 2 of label space auto"),
        ({"public_count": 500}, "lower --public-count"),
        ({"raw": None}, "--raw"),
        ({"seed": -1}, "seed=-1"),
    ],
)
def test_a_mistake_gets_one_clear_line_and_leaves_nothing(tmp_path, cells, changes, message):
    with pytest.raises(ValueError, match=message) as caught:
        make(**{"raw": cells, "out": tmp_path / "fed", **changes})
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "fed").exists()
    assert not list(tmp_path.glob("*.tmp"))


def test_classes_can_be_chosen(tmp_path, cells):
    federation = make(cells, tmp_path / "fed", classes=("red", "blue")).federation
    assert federation["classes"] == ["blue", "red"]
    assert federation["dropped"] == {"green": 20}


def test_the_command_shows_what_came_out(tmp_path, cells):
    arguments = ["folder", "--raw", str(cells), "--label-space", "auto", "--sites", "2", "--public", "holdout"]
    arguments += [
        "--noise",
        "pairflip",
        "--noise-rate",
        "0.1,0.3",
        "--image-size",
        "16",
        "--out",
        str(tmp_path / "fed"),
    ]
    first = CliRunner().invoke(prepare_command, [*arguments, "--workers", "1"], catch_exceptions=False)
    assert first.exit_code == 0
    for text in ("site-2", "green", "label noise", "pairflip 0.", "public set: 24 images", "written in"):
        assert text in first.output
    assert "up to date" in CliRunner().invoke(prepare_command, arguments, catch_exceptions=False).output
    assert CliRunner().invoke(prepare_command, ["folder"]).exit_code == 2
    assert CliRunner().invoke(prepare_command, [*arguments, "--noise-rate", "much"]).exit_code == 2


def test_the_real_set_of_the_issue(tmp_path, shared_data):
    arguments = PrepareArguments(
        source="acevedo20", raw=shared_data / "acevedo20_native_subset.zip", label_space="cytomorphology13",
        public="matek19", public_raw=shared_data / "matek19_tiles_108px.zip", public_count=100, crop=("acevedo20=200",),
        sites=4, split="dirichlet", per_site=60, noise="symmetric", noise_rate=(0.2,), out=tmp_path / "fed",
    )  # fmt: skip
    federation = prepare(arguments).federation
    assert verify_federation(tmp_path / "fed", pixels=True) == []
    assert {site["training"] for site in federation["sites"].values()} == {60}
    assert federation["dropped"] == {"ig/IG": 10, "platelet": 150}
    assert [source["name"] for source in federation["sources"]] == ["acevedo20", "matek19"]
    assert load(tmp_path / "fed", "sites/site-1/card.json")["licence"] == "CC BY 4.0"


def test_the_server_gets_labelled_images_that_no_site_has(tmp_path, cells):
    plain, fed = tmp_path / "plain", tmp_path / "server"
    make(cells, plain)
    facts = make(cells, fed, server_validation=24).federation["server"]
    assert not (plain / "server").exists()
    assert "server" not in load(plain, "federation.json")
    listed = load(fed, "server/datalist.json")["validation"]
    assert facts["validation"] == len(listed) == 24
    labels = [item["label"] for item in listed]
    expected = [count / 120 * 24 for name, count in sorted(COUNTS.items())]  # stratified
    assert all(abs(labels.count(label) - share) <= 2 for label, share in enumerate(expected))
    others = {item["digest"] for site in ("site-1", "site-2") for item in items(fed, site)}
    others |= {item["digest"] for item in load(fed, "public/datalist.json")["public"]}
    assert not others & {item["digest"] for item in listed}
    assert len(others) == 120 - 24
    card = load(fed, "server/card.json")
    assert (card["count"], card["digest"]) == (24, facts["digest"])
    assert card["classes"] == load(fed, "public/card.json")["classes"] == sorted(COUNTS)
    assert verify_federation(fed, pixels=True) == []
    make(cells, tmp_path / "again", server_validation=24)
    assert tree(tmp_path / "again" / "server") == tree(fed / "server")
    (fed / "server" / listed[0]["image"]).unlink()
    (fed / "server" / "card.json").write_text(json.dumps({**card, "classes": ["other", "names"]}))
    wrong, missing = verify_federation(fed, pixels=False)
    assert "server/card.json: classes: expected" in wrong
    assert "expected this image, but the file does not exist" in missing


def test_a_server_part_that_the_pool_cannot_give_is_refused(tmp_path, cells):
    with pytest.raises(ValueError, match=r"server validation of 95 images: the pool has 100, and the sites need"):
        make(cells, tmp_path / "out", server_validation=95)


def test_a_group_is_at_the_server_or_at_sites_but_never_at_both(tmp_path):
    records = [Record(key=str(i), code="x", group=str(i // 4)) for i in range(120)]
    pictures = [Picture(r, "folder", "folder", "folder", i % 3, str(i), tmp_path, 0, 0) for i, r in enumerate(records)]
    server, rest = take_for_server(pictures, count=30, seed=0, keep=60)
    assert len(server) == 30
    assert not {one.record.group for one in server} & {one.record.group for one in rest}
