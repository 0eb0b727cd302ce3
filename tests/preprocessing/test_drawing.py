"""Only what is drawn is read, what cannot be taken is replaced, and nothing lies on two sides."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes.prepared import items, load, make, tree
from fakes.raw_images import class_folders, copied, encoded, png, soft_picture, write_files, write_zip
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mdhfl.preprocessing.arguments import PrepareArguments
from mdhfl.preprocessing.folder.apart import MOST, not_apart, sides_of
from mdhfl.preprocessing.folder.verify import verify_federation
from mdhfl.preprocessing.pool import reader
from mdhfl.preprocessing.pool.likeness import likeness_of
from mdhfl.preprocessing.prepare import prepare

PARTS = ("training", "validation", "test")
SCENES = 40


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The keys of the pictures that were read, as they are asked for."""
    keys: list[str] = []
    read = reader.read_pictures

    def counted(raw_input: Any, candidates: Any, **how: Any) -> Any:
        keys.extend(candidate.record.key for candidate in candidates)
        return read(raw_input, candidates, **how)

    monkeypatch.setattr(reader, "read_pictures", counted)
    return keys


def sides(fed: Path) -> dict[str, set[str]]:
    """Every side of a federation, with the digests of its images."""
    found = {"public": {item["digest"] for item in load(fed, "public/datalist.json")["public"]}}
    for site in sorted((fed / "sites").iterdir()):
        found.update({f"{site.name} {p}": {one["digest"] for one in items(fed, site.name, p)} for p in PARTS})
    return found


def pixels_by_digest(fed: Path) -> dict[str, np.ndarray]:
    homes = [fed / "public", *(fed / "sites").iterdir()]
    lists = {home: json.loads((home / "datalist.json").read_text()) for home in homes}
    return {
        item["digest"]: np.asarray(Image.open(home / item["image"]))
        for home, datalist in lists.items()
        for part, mine in datalist.items()
        if part != "version"
        for item in mine
    }


def test_a_small_federation_reads_what_it_needs(tmp_path: Path, asked: list[str]) -> None:
    raw = write_zip(tmp_path / "raw.zip", class_folders({"a": 300, "b": 200}))
    federation = make(raw, tmp_path / "fed", per_site=14, public_count=10).federation
    assert len(asked) == len(set(asked)) == 2 * (14 + 2 + 4) + 10
    assert federation["unused"] == 450


def test_all_is_read_once_where_all_is_needed(tmp_path: Path, asked: list[str]) -> None:
    raw = write_zip(tmp_path / "raw.zip", class_folders({"a": 60, "b": 40}))
    make(raw, tmp_path / "fed")
    assert sorted(asked) == sorted(set(asked))
    assert len(asked) == 100


def test_what_cannot_be_read_or_is_a_twin_is_replaced(tmp_path: Path, asked: list[str]) -> None:
    files = class_folders({"a": 300, "b": 200})
    for number, name in enumerate(sorted(files)):
        if number % 12 == 0:
            files[name] = files[name][:200]  # cut off
        elif number % 12 == 6:
            files[name] = encoded(
                Image.open(write_files(tmp_path, {"x.png": files["cells/a/0001.png"]}) / "x.png"), "BMP"
            )
    raw = write_zip(tmp_path / "raw.zip", files)
    federation = make(raw, tmp_path / "fed", per_site=14, public_count=10, bad_limit=0.5).federation
    for site in federation["sites"].values():
        assert [site[part] for part in PARTS] == [14, 2, 4]
    assert federation["public"]["count"] == 10
    assert federation["skipped"] > 0
    assert 50 < len(asked) == len(set(asked)) < 120
    digests = [digest for mine in sides(tmp_path / "fed").values() for digest in mine]
    assert len(digests) == len(set(digests)) == 50


def test_files_with_the_same_bytes_are_known_before_one_is_read(tmp_path: Path, asked: list[str]) -> None:
    for name, write in (("zip", write_zip), ("folder", write_files)):
        files = class_folders({"a": 300, "b": 200})
        twins = {f"cells/a/twin{index:04}.png": files[f"cells/a/{index:04}.png"] for index in range(100)}
        wrong = {f"cells/b/wrong{index:04}.png": files[f"cells/a/{index:04}.png"] for index in range(100, 120)}
        raw = write(tmp_path / name, {**files, **twins, **wrong})
        asked.clear()
        federation = make(raw, tmp_path / f"fed {name}", per_site=14, public_count=10).federation
        assert federation["duplicates"] == 100 + 2 * 20
        assert len(asked) == 50
        assert not {key for key in asked if "twin" in key or "wrong" in key}


@pytest.mark.parametrize("per_site", [None, 10])
@pytest.mark.parametrize("split", ["iid", "dirichlet"])
def test_nearly_identical_pictures_lie_on_one_side(tmp_path: Path, per_site: int | None, split: str) -> None:
    files = {}
    for number in range(SCENES):  # each scene in five takes, in no group
        scene = soft_picture(number)
        takes = [scene, copied(scene), copied(scene, quality=40), copied(scene, quality=80), scene.convert("L")]
        files.update({f"{'ab'[number % 2]}/{number:03}-{take}.png": encoded(one) for take, one in enumerate(takes)})
    raw = write_zip(tmp_path / "raw.zip", files)
    changes = {"sites": 2, "per_site": per_site, "split": split, "public_count": 8, "image_size": 32}
    federation = make(raw, tmp_path / "fed", **changes).federation
    assert federation["alike"]["images"] > 0
    assert verify_federation(tmp_path / "fed", pixels=True) == []
    scenes = {likeness_of(np.asarray(soft_picture(number).resize((32, 32), Image.Resampling.LANCZOS))): number
              for number in range(SCENES)}  # fmt: skip
    pixels = pixels_by_digest(tmp_path / "fed")
    where: dict[int, set[str]] = {}
    for side, digests in sides(tmp_path / "fed").items():
        for digest in digests:
            where.setdefault(nearest_scene(pixels[digest], scenes), set()).add(side)
    assert all(len(homes) == 1 for homes in where.values())
    make(raw, tmp_path / "apart", near=0, **changes)
    assert verify_federation(tmp_path / "apart", pixels=True) == []  # it promised less
    card = tmp_path / "apart" / "federation.json"
    card.write_text(card.read_text().replace('"within": 0', '"within": 8'))
    problems = verify_federation(tmp_path / "apart", pixels=True)
    assert any("has nearly identical pixels" in problem for problem in problems)


def nearest_scene(pixels: np.ndarray, scenes: dict[bytes, int]) -> int:
    grey = np.frombuffer(likeness_of(pixels)[8:], dtype=np.uint8).astype(float)
    copies = {number: np.frombuffer(known[8:], dtype=np.uint8).astype(float) for known, number in scenes.items()}
    return max(copies, key=lambda number: float(np.corrcoef(grey, copies[number])[0, 1]))


def test_near_pictures_take_their_groups_along(tmp_path: Path) -> None:
    files, rows = {}, ["file,class,group"]
    for number in range(80):
        files[f"{number}.png"] = encoded(soft_picture(number))
        rows.append(f"{number}.png,{'ab'[number % 2]},p{number // 4}")
    files["30.png"] = encoded(copied(soft_picture(0)))  # patient 0 was photographed once more, as patient 7
    files["manifest.csv"] = "\n".join(rows).encode()
    raw = write_zip(tmp_path / "raw.zip", files)
    for seed in range(4):
        out = tmp_path / f"fed{seed}"
        make(raw, out, source="manifest", public_count=8, image_size=32, seed=seed)
        assert verify_federation(out, pixels=True) == []
        homes: dict[str, set[tuple[str, str]]] = {}
        for site in ("site-1", "site-2"):
            for part in PARTS:
                for item in items(out, site, part):
                    homes.setdefault(item["group"], set()).add((site, part))
        assert all(len(home) == 1 for home in homes.values())
        if "p0" in homes and "p7" in homes:
            assert homes["p0"] == homes["p7"]
        else:
            assert "p0" not in homes
            assert "p7" not in homes


def test_a_part_that_the_raw_data_fixes_keeps_its_test_images(tmp_path: Path) -> None:
    files = {}
    for number in range(40):
        files[f"train/{'ab'[number % 2]}/{number}.png"] = encoded(soft_picture(number))
        files[f"test/{'ab'[number % 2]}/{number}.png"] = encoded(soft_picture(1000 + number))
    for number in range(5):  # in training, too
        files[f"train/{'ab'[number % 2]}/again{number}.png"] = encoded(copied(soft_picture(1000 + number)))
    federation = make(write_zip(tmp_path / "raw.zip", files), tmp_path / "fed", sites=1, public_count=1).federation
    assert federation["alike"]["left_out"] in (4, 5)  # one of them may be the public one
    assert sum(federation["sites"]["site-1"][part] for part in PARTS) in (79, 80)
    assert any("left out" in note for note in federation["notes"])
    reasons = [skip["reason"] for skip in load(tmp_path / "fed", "sites/site-1/card.json")["skipped"]]
    assert any(reason.startswith("nearly identical: test/") for reason in reasons)
    told = {line["what"]: line["found"] for line in federation["understood"]}
    assert "nearly identical" in told["left out"]
    assert ".png" not in str(told)
    assert verify_federation(tmp_path / "fed", pixels=True) == []


def test_a_patient_whose_rows_name_two_parts_is_tested_on_only(tmp_path: Path) -> None:
    rows, files = ["file,class,group,split"], {}
    for number in range(40):
        files[f"{number}.png"] = png(number)
        rows.append(f"{number}.png,{'ab'[number % 2]},p{number // 4},{'test' if number % 4 == 3 else 'train'}")
    files["manifest.csv"] = "\n".join(rows).encode()
    raw = write_zip(tmp_path / "raw.zip", files)
    with pytest.raises(ValueError, match=r"no training images at any site \(training 0, validation 0, test"):
        make(raw, tmp_path / "fed", source="manifest", public_count=4)
    rows = [row.replace("test", "train") if ",p9," not in row else row for row in rows]
    files["manifest.csv"] = "\n".join(rows).encode()
    write_zip(raw, files)
    make(raw, tmp_path / "fed", source="manifest", sites=1, public_count=4, seed=1)
    assert {item["group"] for item in items(tmp_path / "fed", "site-1", "training")}.isdisjoint({"p9"})


def test_sites_by_source_do_not_exchange_images(tmp_path: Path) -> None:
    north = {f"{'ab'[n % 2]}/{n}.png": encoded(soft_picture(n)) for n in range(40)}
    south = {f"{'ab'[n % 2]}/{n}.png": encoded(soft_picture(500 + n)) for n in range(40)}
    south |= {f"a/again{n}.png": encoded(copied(soft_picture(n))) for n in range(0, 12, 2)}
    first, second = write_zip(tmp_path / "north.zip", north), write_zip(tmp_path / "south.zip", south)
    out = tmp_path / "fed"
    federation = make(first, out, sites=None, also=(f"folder={second}",), public_count=4, image_size=32).federation
    assert federation["alike"]["left_out"] + federation["alike"]["moved"] >= 6
    assert verify_federation(out, pixels=True) == []
    assert [load(out, f"sites/{site}/card.json")["origin"] for site in ("site-1", "site-2")] == [["north"], ["south"]]


def test_patients_of_two_hospitals_may_have_one_number(tmp_path: Path) -> None:
    def hospital(start: int) -> dict[str, bytes]:
        rows = ["file,class,group", *(f"{n}.png,{'ab'[n % 2]},{n // 4}" for n in range(40))]
        return {"manifest.csv": "\n".join(rows).encode(), **{f"{n}.png": png(start + n) for n in range(40)}}

    first, second = write_zip(tmp_path / "n.zip", hospital(0)), write_zip(tmp_path / "s.zip", hospital(900))
    out = tmp_path / "fed"
    make(first, out, source="manifest", also=(f"manifest={second}",), split="iid", public_count=8)
    assert verify_federation(out, pixels=True) == []
    groups = {item["group"] for site in ("site-1", "site-2") for item in items(out, site)}
    assert {group.partition("/")[0] for group in groups} == {"n", "s"}


def test_a_public_picture_that_a_site_has_nearly_is_replaced(tmp_path: Path) -> None:
    private = {f"{'ab'[n % 2]}/{n}.png": encoded(soft_picture(n)) for n in range(40)}
    shown = {f"x/{n}.png": encoded(soft_picture(700 + n)) for n in range(30)}
    shown |= {f"x/known{n}.png": encoded(copied(soft_picture(n))) for n in range(20)}
    raw, public = write_zip(tmp_path / "raw.zip", private), write_zip(tmp_path / "public.zip", shown)
    out = tmp_path / "fed"
    changes = {"public": "folder", "public_raw": public, "image_size": 32}
    federation = make(raw, out, public_count=25, **changes).federation
    assert federation["public"]["count"] == 25
    assert sum(federation["sites"][site][part] for site in ("site-1", "site-2") for part in PARTS) == 40
    assert verify_federation(out, pixels=True) == []
    federation = make(raw, tmp_path / "all", public_count=45, **changes).federation
    assert federation["public"]["count"] == 30
    assert "public set: 30 images instead of 45" in federation["notes"]


def test_the_same_bytes_whatever_the_number_of_processes(tmp_path: Path) -> None:
    files = {f"{'ab'[n % 2]}/{n:04}.png": encoded(soft_picture(n // 2 if n < 200 else n)) for n in range(400)}
    files |= {f"a/bad{n}.png": b"bad" for n in range(20)}
    raw = write_zip(tmp_path / "raw.zip", files)
    for number in (1, 2):
        arguments = PrepareArguments(
            "folder", raw=raw, out=tmp_path / str(number) / "fed", sites=2, per_site=30, image_size=16, minimum=5
        )
        prepare(arguments, workers=number)
    assert tree(tmp_path / "1") == tree(tmp_path / "2")


digests = st.lists(st.sampled_from("abcdefgh"), max_size=4)


@settings(max_examples=80, deadline=None)
@given(parts=st.lists(digests, min_size=2, max_size=5))
def test_the_proof_fails_exactly_where_an_image_lies_on_two_sides(parts: list[list[str]]) -> None:
    known: dict[tuple[str, str], Any] = {}
    for number, mine in enumerate(parts):
        listed = [
            {"image": f"images/{i}.png", "digest": d, "group": d.upper()} for i, d in enumerate(dict.fromkeys(mine))
        ]
        known.update(sides_of(f"sites/site-{number}", {"training": listed}))
    twice = sum(len(set(mine)) for mine in parts) - len({digest for mine in parts for digest in mine})
    found = not_apart(known, likeness={}, folder=Path(), within=8)
    assert len(found) == min(2 * twice, MOST + 1)  # by its pixels, and by its group; the rest in one line
    assert all("has the same" in problem for problem in found[:MOST])


def test_a_copied_image_is_found_by_check(tmp_path: Path) -> None:
    make(write_zip(tmp_path / "raw.zip", class_folders({"a": 30, "b": 30})), tmp_path / "fed", image_size=32)
    home = tmp_path / "fed" / "sites" / "site-1"
    datalist = json.loads((home / "datalist.json").read_text())
    datalist["test"][0] = {**datalist["test"][0], "digest": datalist["training"][0]["digest"]}
    Image.open(home / datalist["training"][0]["image"]).save(home / datalist["test"][0]["image"])
    (home / "datalist.json").write_text(json.dumps(datalist))
    problems = "\n".join(verify_federation(tmp_path / "fed", pixels=True))
    assert "(training): expected to lie on one side only" in problems
    assert "(test) has the same pixels" in problems
