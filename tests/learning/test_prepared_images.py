"""A site's own folder: its images are looked at before a decoder sees them, and nothing is waited for."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from fakes.bombs import MB, measured, png_chunk, png_of, zeros
from fakes.raw_images import class_folders, encoded, picture, write_files
from PIL import Image

from mdhfl.learning.cache import ImageCache
from mdhfl.learning.images import DataError, image_size_of, load_public_set
from mdhfl.preprocessing.arguments import PrepareArguments
from mdhfl.preprocessing.folder.verify import verify_federation
from mdhfl.preprocessing.prepare import prepare


def decode(item: dict[str, str]) -> dict[str, np.ndarray]:
    with Image.open(item["image"]) as image:
        return {"image": np.asarray(image.convert("RGB")).transpose(2, 0, 1)}


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    top = tmp_path_factory.mktemp("prepared")
    raw = write_files(top / "raw", class_folders({"a": 30, "b": 30}))
    return prepare(PrepareArguments("folder", out=top / "fed", raw=raw, sites=2, image_size=8), workers=1).folder


@pytest.fixture
def public(intact: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(intact, tmp_path / "fed")) / "public"


def first_image(public: Path) -> Path:
    return Path(public / json.loads((public / "datalist.json").read_text())["public"][0]["image"])


def make_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def make_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def make_long(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(1 << 40)  # takes no room on the disk


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (make_pipe, "a named pipe, not a regular file"),
        (make_link, "a device, not a regular file"),
        (make_long, "too large: the limit is 68,157,440 bytes, got 1,099,511,627,776"),
        (
            lambda path: path.write_bytes(png_of(9_000, 9_000, data=zeros(81 * MB))),
            "limit is 16,777,216 pixels, got 81",
        ),
        (lambda path: path.write_bytes(encoded(Image.fromarray(picture(0)), "TIFF")), "not a PNG"),
        (lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n"), "not a PNG"),
    ],
)
def test_an_image_that_is_none_is_named_and_not_decoded(public: Path, change, reason: str) -> None:  # type: ignore[no-untyped-def]
    image = first_image(public)
    change(image)

    def never(item: dict[str, str]) -> dict[str, np.ndarray]:
        assert item["image"] != str(image)
        return decode(item)

    with pytest.raises(DataError, match=f"{image.name}: cannot be decoded .*{reason}"):
        load_public_set(public, decode=never, image_size=8)
    problems = "\n".join(verify_federation(public.parent, pixels=True))
    assert f"{image}: expected an image" in problems


def test_verifying_and_decoding_take_little_memory(public: Path) -> None:
    text = png_chunk(b"zTXt", b"k\0\0" + zeros(200 * MB))
    first_image(public).write_bytes(png_of(9_000, 9_000, data=zeros(81 * MB), extra=text))
    grown, said = measured(
        "verify_federation(Path(sys.argv[1]), pixels=True)",
        public.parent,
        imports="import jsonschema\nfrom mdhfl.preprocessing.folder.verify import verify_federation",
    )
    assert "too large: the limit is 16,777,216 pixels" in said
    assert grown < 50


@pytest.mark.parametrize("size", [0, -1, 100_000, 10**30, 8.5, "8", None])
def test_a_card_with_a_size_that_cannot_be(public: Path, size: object) -> None:
    card = public / "card.json"
    card.write_text(json.dumps({**json.loads(card.read_text()), "image_size": size}))
    with pytest.raises(DataError, match="expected an image_size from 1 to 4096"):
        image_size_of(public)


def test_more_images_than_this_machine_holds_are_refused_before_they_are_decoded(
    public: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = len(json.loads((public / "datalist.json").read_text())["public"])
    machine = {"SC_PAGE_SIZE": 1, "SC_PHYS_PAGES": count * 3 * 8 * 8}
    monkeypatch.setattr(os, "sysconf", machine.__getitem__)
    load_public_set(public, decode=decode, image_size=8)
    machine["SC_PHYS_PAGES"] -= 1
    with pytest.raises(DataError, match=r"too large: the images of one part take .* this machine has"):
        load_public_set(public, decode=decode, image_size=8)


def test_json_that_is_nested_without_an_end(public: Path) -> None:
    (public / "datalist.json").write_text("[" * 200_000)
    with pytest.raises(DataError, match="not valid JSON"):
        load_public_set(public, decode=decode, image_size=8)
    assert "not valid JSON" in "\n".join(verify_federation(public.parent, pixels=False))


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY\x01\x00", None])
def test_a_kept_array_that_is_cut_or_of_another_shape_is_decoded_again(
    public: Path, tmp_path: Path, content: bytes | None
) -> None:
    keep = ImageCache(tmp_path / "kept").keeper(decoding="x", image_size=8)
    mapped, digest = load_public_set(public, decode=decode, image_size=8, keep=keep)
    images = mapped.clone()  # what is mapped goes with its file
    del mapped
    (kept,) = (tmp_path / "kept").iterdir()
    if content is None:
        np.save(kept, np.zeros((1, 3, 8, 8), dtype=np.uint8))
    else:
        kept.write_bytes(content)
    again, same = load_public_set(public, decode=decode, image_size=8, keep=keep)
    assert (again == images).all()
    assert same == digest
