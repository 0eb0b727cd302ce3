"""A federation folder that was damaged is told so: which file, what was expected, what came, the way out."""

import json
import shutil

import pytest
from fakes.raw_images import class_folders, write_zip
from PIL import Image

from mdhfl.preprocessing.arguments import PrepareArguments
from mdhfl.preprocessing.folder.verify import verify_federation, verify_site_data
from mdhfl.preprocessing.prepare import prepare


@pytest.fixture(scope="module")
def intact(tmp_path_factory):
    folder = tmp_path_factory.mktemp("verify")
    raw = write_zip(folder / "cells.zip", class_folders({"a": 30, "b": 30}))
    arguments = PrepareArguments(
        source="folder", raw=raw, sites=2, image_size=8, noise="symmetric", noise_rate=(0.2,), out=folder / "fed"
    )
    return prepare(arguments, workers=1).folder


@pytest.fixture
def fed(intact, tmp_path):
    return shutil.copytree(intact, tmp_path / "fed")


def change(path, edit):
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


def first_image(folder, part="training"):
    return folder / json.loads((folder / "datalist.json").read_text())[part][0]["image"]


def problems(fed, *, pixels=True):
    found = verify_federation(fed, pixels=pixels)
    assert all("mdhfl prepare" in problem for problem in found)
    return "\n".join(found)


def test_an_intact_folder_has_no_problems(fed):
    assert verify_federation(fed, pixels=True) == []
    assert verify_site_data(fed / "sites" / "site-1", public_folder=fed / "public") == []


def test_a_missing_image_is_named_without_reading_pixels(fed):
    image = first_image(fed / "sites" / "site-1")
    image.unlink()
    assert f"{image}: expected this image, but the file does not exist" in problems(fed, pixels=False)
    assert str(image) in "\n".join(verify_site_data(fed / "sites" / "site-1", public_folder=fed / "public"))


def test_a_changed_image_is_found_by_its_digest(fed):
    image = first_image(fed / "public", part="public")
    with Image.open(image) as opened:
        pixels = opened.copy()
    pixels.putpixel((0, 0), (1, 2, 3))
    pixels.save(image)
    assert problems(fed, pixels=False) == ""
    assert f"{image}: expected pixels with digest" in problems(fed)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: Image.new("L", (8, 8)).save(path), "expected RGB of 8x8, got L of 8x8"),
        (lambda path: Image.new("RGB", (9, 8)).save(path), "expected RGB of 8x8, got RGB of 9x8"),
        (lambda path: path.write_bytes(path.read_bytes()[:60]), "cannot be read"),
        (lambda path: path.write_bytes(b""), "cannot be read"),
    ],
)
def test_an_image_of_another_kind(fed, write, message):
    write(first_image(fed / "sites" / "site-2"))
    assert message in problems(fed)


def test_a_label_outside_the_classes_and_a_changed_label(fed):
    datalist = fed / "sites" / "site-1" / "datalist.json"
    change(datalist, lambda content: content["training"][0].update(label=7))
    found = problems(fed, pixels=False)
    assert "expected label from 0 to 1 (2 classes), got 7" in found
    assert "site-1: digest: expected" in found


def test_another_public_set_is_found_by_its_digest(fed):
    change(fed / "public" / "datalist.json", lambda content: content["public"].reverse())
    assert "public digest: expected" in problems(fed, pixels=False)
    assert "public digest" in "\n".join(verify_site_data(fed / "sites" / "site-1", public_folder=fed / "public"))


@pytest.mark.parametrize(
    "name", ["federation.json", "sites/site-1/datalist.json", "sites/site-1/card.json", "public/card.json"]
)
def test_a_missing_or_broken_file(fed, name):
    (fed / name).write_text("{ no json")
    assert f"{fed / name}: not valid JSON" in problems(fed)
    (fed / name).unlink()
    assert f"{fed / name}: expected this file, but it does not exist" in problems(fed)


@pytest.mark.parametrize(
    ("name", "edit", "message"),
    [
        ("federation.json", lambda c: c.update(version=2), "expected format 1, got format 2"),
        ("federation.json", lambda c: c.pop("classes"), "'classes' is a required property"),
        ("federation.json", lambda c: c["public"].update(digest="short"), "does not match"),
        ("sites/site-1/card.json", lambda c: c.update(classes=["b", "a"]), "expected ['a', 'b'], got ['b', 'a']"),
        ("sites/site-1/card.json", lambda c: c["counts"]["test"].update(a=99), "counts: expected"),
        ("sites/site-1/datalist.json", lambda c: c["training"].pop(), "images per part: expected"),
        ("sites/site-1/datalist.json", lambda c: c["training"][0].update(image="../../x.png"), "datalist.schema.json"),
        ("sites/site-1/datalist.json", lambda c: c["test"][0].update(clean_label=0), "datalist.schema.json"),
        ("public/datalist.json", lambda c: c["public"][0].update(label=1), "datalist.schema.json"),
    ],
)  # fmt: skip
def test_what_the_schemas_and_cards_say(fed, name, edit, message):
    change(fed / name, edit)
    assert message in problems(fed, pixels=False)
