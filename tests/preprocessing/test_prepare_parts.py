"""From raw data to a federation folder: noise, groups, fixed parts, sources, and the server's part."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from fakes.prepared import COUNTS, items, load, make, tree
from fakes.raw_images import class_folders, picture, png, write_zip
from PIL import Image

from mdhfl.commands.prepare import prepare_command
from mdhfl.digests import image_digest
from mdhfl.preprocessing.arguments import PrepareArguments
from mdhfl.preprocessing.folder.verify import verify_federation
from mdhfl.preprocessing.placing.plan import take_for_server
from mdhfl.preprocessing.prepare import prepare


@pytest.fixture
def cells(tmp_path):
    return write_zip(tmp_path / "cells.zip", class_folders(COUNTS))


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


def test_a_group_is_at_the_server_or_at_sites_but_never_at_both():
    units, labels = np.arange(120) // 4, np.arange(120) % 3
    server, rest = take_for_server(
        np.arange(120), labels=labels, units=units, grouped=np.ones(120, int), count=30, seed=0, keep=60
    )
    assert len(server) == 30
    assert not set(units[server]) & set(units[rest])
