"""A public set that somebody else prepared and sent: every site has the same one, and nothing of it in its own part."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import mdhfl
from mdhfl.hosting.offer import offer_of, write_offer
from mdhfl.preprocessing.arguments import PrepareArguments
from mdhfl.preprocessing.folder.joining import entry_of, join
from mdhfl.preprocessing.folder.verify import verify_federation
from mdhfl.preprocessing.pool.likeness import likeness_of
from mdhfl.preprocessing.prepare import prepare

CLASSES = ("eosinophil", "monocyte")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a coordinator prepares; its public set has 24 drawn cells."""
    out = tmp_path_factory.mktemp("base") / "base"
    mdhfl.prepare("synthetic", sites=1, per_site=8, public="synthetic", public_count=24, classes=CLASSES, out=out)
    return out


def pictures(folder: Path, *, more: tuple[tuple[str, np.ndarray], ...] = ()) -> Path:
    """A hospital's own class folders: 20 pictures of noise each, and some more."""
    random = np.random.default_rng(7)
    for name in CLASSES:
        (folder / name).mkdir(parents=True)
        for number in range(20):
            pixels = random.integers(0, 255, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    for name, pixels in more:
        Image.fromarray(pixels).save(folder / CLASSES[0] / name)
    return folder


def own(raw: Path, out: Path, public: Path, **changes: object) -> Path:
    arguments = {"source": "folder", "raw": raw, "sites": 1, "public": "prepared", "public_raw": public, **changes}
    prepare(PrepareArguments(out=out, **arguments), workers=1)  # type: ignore[arg-type]
    return out


def test_the_set_is_taken_as_it_came(tmp_path: Path, base: Path) -> None:
    """The same digest at every site, whatever its own images are: that is what sites compare before they share."""
    own(pictures(tmp_path / "raw"), tmp_path / "a", base / "public")
    mdhfl.prepare(
        "synthetic", sites=1, per_site=12, classes=CLASSES, public="prepared", public_raw=base / "public", seed=5,
        out=tmp_path / "b",
    )  # fmt: skip
    expected = json.loads((base / "federation.json").read_text())["public"]
    for site in ("a", "b"):
        card = json.loads((tmp_path / site / "federation.json").read_text())
        assert card["public"] == expected
        assert verify_federation(tmp_path / site, pixels=True) == []
        for path in (base / "public").rglob("*.png"):
            copied = tmp_path / site / path.relative_to(base)
            assert copied.read_bytes() == path.read_bytes()


def test_own_images_that_are_in_it_or_nearly_are_left_out(tmp_path: Path, base: Path) -> None:
    path = next((base / "public" / "images").iterdir())
    same = np.array(Image.open(path))
    nearly = np.clip(same.astype(int) + 3, 0, 255).astype(np.uint8)
    raw = pictures(tmp_path / "raw", more=(("same.png", same), ("nearly.png", nearly)))
    card = json.loads((own(raw, tmp_path / "a", base / "public") / "sites" / "site-1" / "card.json").read_text())
    reasons = {Path(skip["file"]).name: skip["reason"] for skip in card["skipped"]}
    assert reasons == {
        "same.png": "identical to a picture of the public set",
        "nearly.png": "nearly identical to a picture of the public set",
    }
    assert sum(sum(card["counts"][part].values()) for part in card["counts"]) == 40
    kept = own(raw, tmp_path / "b", base / "public", near=0) / "sites" / "site-1" / "card.json"
    assert [Path(skip["file"]).name for skip in json.loads(kept.read_text())["skipped"]] == ["same.png"]


def test_all_own_images_of_one_likeness_are_left_out_if_one_is(tmp_path: Path, base: Path) -> None:
    """Copies of a public picture that differ from each other in a colour only, which no likeness tells."""
    shown = np.array(Image.open(next((base / "public" / "images").iterdir())))
    first = np.clip(shown.astype(int) + 3, 0, 255).astype(np.uint8)
    copies = [first, *(with_another_blue(first, number) for number in range(1, 4))]
    assert len({likeness_of(pixels) for pixels in copies}) == 1 < len({pixels.tobytes() for pixels in copies})
    assert likeness_of(first) != likeness_of(shown)
    raw = pictures(tmp_path / "raw", more=tuple((f"near{n}.png", pixels) for n, pixels in enumerate(copies)))
    out = own(raw, tmp_path / "a", base / "public")
    card = json.loads((out / "sites" / "site-1" / "card.json").read_text())
    reasons = {Path(skip["file"]).name: skip["reason"] for skip in card["skipped"]}
    assert reasons == {f"near{n}.png": "nearly identical to a picture of the public set" for n in range(4)}
    assert json.loads((out / "federation.json").read_text())["alike"]["left_out"] == 4
    assert verify_federation(out, pixels=True) == []


def with_another_blue(pixels: np.ndarray, number: int) -> np.ndarray:
    """Change one pixel by one step of blue that its grey does not show."""
    brighter = np.clip(pixels.astype(int) + np.array([0, 0, 1]), 0, 255).astype(np.uint8)
    grey = [np.asarray(Image.fromarray(one).convert("L")) for one in (pixels, brighter)]
    row, column = np.argwhere((grey[0] == grey[1]) & (pixels[..., 2] < 255))[number]
    changed = pixels.copy()
    changed[row, column] = brighter[row, column]
    return changed


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"classes": ()}, None),
        ({"image_size": 48}, "image size: it has 32, asked for is 48; give the same --label-space"),
        ({"public_count": 5}, "a prepared public set is taken whole; leave --public-count out"),
    ],
)
def test_another_size_or_count_is_refused(
    tmp_path: Path, base: Path, changes: dict[str, object], said: str | None
) -> None:
    raw = pictures(tmp_path / "raw")
    if said is None:
        own(raw, tmp_path / "a", base / "public", **changes)
        return
    with pytest.raises(ValueError, match=said):
        own(raw, tmp_path / "a", base / "public", **changes)
    assert not (tmp_path / "a").exists()


def test_other_classes_are_refused(tmp_path: Path, base: Path) -> None:
    raw = pictures(tmp_path / "raw")
    (raw / CLASSES[1]).rename(raw / "neutrophil")
    with pytest.raises(ValueError, match=r"classes: it has \['eosinophil', 'monocyte'\], asked for is"):
        own(raw, tmp_path / "a", base / "public")


def test_a_damaged_set_is_refused_by_name(tmp_path: Path, base: Path) -> None:
    public = tmp_path / "public"
    shutil.copytree(base / "public", public)
    path = next((public / "images").iterdir())
    pixels = np.array(Image.open(path))
    pixels[0, 0] ^= 1
    Image.fromarray(pixels).save(path)
    with pytest.raises(ValueError, match=rf"public set .*{path.name}: expected pixels with digest"):
        own(pictures(tmp_path / "raw"), tmp_path / "a", public)


def test_an_offer_stands_for_a_set_that_the_server_will_send(tmp_path: Path, base: Path) -> None:
    """Its images are not here; identical ones are left out all the same, and the sites' entries go together."""
    offer = offer_of(base / "public")
    write_offer(tmp_path / "offer.json", offer)
    shown = np.asarray(Image.open(next((base / "public" / "images").iterdir())))
    raw = pictures(tmp_path / "raw", more=(("twin.png", shown),))
    by_offer, by_copy = own(raw, tmp_path / "a", tmp_path / "offer.json"), own(raw, tmp_path / "b", base / "public")
    card = json.loads((by_offer / "federation.json").read_text())
    assert card["public"] == {"count": 24, "digest": offer.public_digest, "at_server": True}
    assert not (by_offer / "public").exists()
    assert card["duplicates"] == 1
    assert any("images are at the server: only identical ones" in note for note in card["notes"])
    assert verify_federation(by_offer, pixels=True) == []
    lists = [folder / "sites" / "site-1" / "datalist.json" for folder in (by_offer, by_copy)]
    assert lists[0].read_bytes() == lists[1].read_bytes()
    joined = join([entry_of(by_offer, site="a"), entry_of(by_copy, site="b")], name="blood")
    assert joined["public"] == {"count": 24, "digest": offer.public_digest}
    own(raw, tmp_path / "a", tmp_path / "offer.json")  # again: up to date


def test_an_offer_of_another_size_or_digest_is_refused(tmp_path: Path, base: Path) -> None:
    raw, values = pictures(tmp_path / "raw"), offer_of(base / "public").to_json()
    for changes, said in (({"image_size": 64}, "image size"), ({"public_digest": "0" * 64}, "not that of its images")):
        (tmp_path / "offer.json").write_text(json.dumps({**values, **changes}))
        with pytest.raises(ValueError, match=said):
            own(raw, tmp_path / "out", tmp_path / "offer.json")
    (tmp_path / "offer.json").write_text(json.dumps({**values, "images": [["../up.png", 1, "0" * 64]]}))
    with pytest.raises(ValueError, match="offer"):
        own(raw, tmp_path / "out", tmp_path / "offer.json")
