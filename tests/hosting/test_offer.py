"""What a server offers of a public set: made from a folder, read from anybody."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdhfl.files import shipped_folder
from mdhfl.hosting.offer import MOST_IMAGES, Offer, in_words, offer_of, parse_offer, payload_of, read_offer, write_offer
from mdhfl.sharing.checks import MessageError

GOOD = {
    "version": 1,
    "public_digest": hashlib.sha256(b"00000000000000aa\n00000000000000bb").hexdigest(),
    "licence": "CC BY 4.0",
    "citation": "Somebody, 2020",
    "source": ["drawn"],
    "image_size": 32,
    "images": [["00000000000000aa", 700, "1" * 64], ["00000000000000bb", 300, "2" * 64]],
}
SCHEMA = json.loads((shipped_folder("meta") / "schemas" / "offer.schema.json").read_text())


def wire(**changes: Any) -> bytes:
    return json.dumps({name: value for name, value in {**GOOD, **changes}.items() if value is not None}).encode()


def test_an_offer_names_each_file_by_digest_size_and_sha256(federation: Path) -> None:
    offer = offer_of(federation / "public")
    listed = json.loads((federation / "public" / "datalist.json").read_text())["public"]
    card = json.loads((federation / "public" / "card.json").read_text())
    assert offer.public_digest == card["digest"]
    assert [image.digest for image in offer.images] == [item["digest"] for item in listed]
    for image, item in zip(offer.images, listed, strict=True):
        payload = (federation / "public" / item["image"]).read_bytes()
        assert (image.size, image.sha256) == (len(payload), hashlib.sha256(payload).hexdigest())
    assert offer.starts[:3] == (0, offer.images[0].size, offer.images[0].size + offer.images[1].size)
    assert offer.bytes == sum(image.size for image in offer.images)


def test_an_offer_holds_no_label_no_class_and_no_files_name(federation: Path) -> None:
    text = payload_of(offer_of(federation / "public")).decode()
    assert not any(word in text for word in ("blue", "red", "green", "img_", ".png", "label", str(federation)))


def test_an_offer_is_the_same_written_and_read(tmp_path: Path, federation: Path) -> None:
    offer = offer_of(federation / "public")
    write_offer(tmp_path / "offer.json", offer)
    assert read_offer(tmp_path / "offer.json") == offer
    assert parse_offer(payload_of(offer)).digest == offer.digest
    jsonschema.validate(offer.to_json(), SCHEMA)
    with pytest.raises(ValueError, match="mdhfl consortium offer"):
        read_offer(federation / "federation.json")


@pytest.mark.parametrize("field", ["licence", "citation"])
def test_another_licence_or_citation_is_another_offer(field: str) -> None:
    assert parse_offer(wire()).digest != parse_offer(wire(**{field: "another"})).digest
    assert parse_offer(wire()).public_digest == parse_offer(wire(**{field: "another"})).public_digest


def test_another_file_is_another_offer() -> None:
    images = [["00000000000000aa", 700, "3" * 64], GOOD["images"][1]]  # type: ignore[index]
    assert parse_offer(wire(images=images)).digest != parse_offer(wire()).digest


MANY = [[f"{n:016x}", 1, "0" * 64] for n in range(MOST_IMAGES + 1)]
LIES: dict[str, tuple[dict[str, Any], str]] = {
    "another format": ({"version": 2}, "version"),
    "no licence": ({"licence": None}, "expected the fields"),
    "a long licence": ({"licence": "x" * 4001}, "licence"),
    "a licence of another type": ({"licence": ["CC BY 4.0"]}, "licence"),
    "a field more": ({"path": "/srv"}, "expected the fields"),
    "a digest of others": ({"public_digest": "0" * 64}, "not that of its images"),
    "a digest that is a path": ({"public_digest": "../../etc"}, "64 hexadecimal digits"),
    "no images": ({"images": []}, "1 to 50000"),
    "too many images": ({"images": MANY}, "1 to 50000"),
    "images by name": ({"images": {"../up.png": 1}}, "1 to 50000"),
    "a name instead of a digest": ({"images": [["../up.png", 1, "0" * 64]]}, "16 hexadecimal"),
    "a name beside it": ({"images": [["0" * 16, 1, "0" * 64, "../up.png"]]}, "digest, size and SHA-256"),
    "an image twice": ({"images": [GOOD["images"][0], GOOD["images"][0]]}, "got one twice"),  # type: ignore[index]
    "an image too large": ({"images": [["0" * 16, 2**40, "0" * 64]]}, "size: expected a whole number"),
    "an empty image": ({"images": [["0" * 16, 0, "0" * 64]]}, "size: expected a whole number"),
    "a size that is no number": ({"images": [["0" * 16, True, "0" * 64]]}, "size: expected a whole number"),
    "half a SHA-256": ({"images": [["0" * 16, 1, "0" * 63]]}, "64 hexadecimal"),
    "no size in pixels": ({"image_size": 0}, "image size"),
    "a huge size in pixels": ({"image_size": 10**9}, "image size"),
    "sources without end": ({"source": ["x"] * 1001}, "source"),
}


@pytest.mark.parametrize(("changes", "said"), LIES.values(), ids=LIES.keys())
def test_a_lie_is_refused_by_field(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(MessageError, match=said):
        parse_offer(wire(**changes))


@pytest.mark.parametrize("payload", [b"", b"{", b"[" * 10**6, b"\xff\xfe", b"null", b"NaN", b" " * (8 * 2**20 + 1)])
def test_what_is_no_json_or_too_long_is_refused(payload: bytes) -> None:
    with pytest.raises(MessageError):
        parse_offer(payload)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from([*GOOD, "path"]), JSON, max_size=7))
def test_whatever_is_said_it_is_an_offer_or_a_named_refusal(changes: dict[str, Any]) -> None:
    try:
        offer = parse_offer(json.dumps({**GOOD, **changes}).encode())
    except MessageError:
        return
    jsonschema.validate(offer.to_json(), SCHEMA)  # what is taken is what the schema says, too
    assert isinstance(offer, Offer)
    assert offer.bytes >= len(offer.images)


def test_a_folder_that_is_no_public_set_is_refused(tmp_path: Path, federation: Path) -> None:
    with pytest.raises(OSError, match="expected a federation's public folder"):
        offer_of(tmp_path)
    with pytest.raises(ValueError, match="found labelled images"):
        offer_of(federation / "sites" / "site-1")
    shutil.copytree(federation / "public", tmp_path / "public")
    card = json.loads((tmp_path / "public" / "card.json").read_text())
    (tmp_path / "public" / "card.json").write_text(json.dumps({**card, "digest": "0" * 64}))
    with pytest.raises(ValueError, match="not that of its images"):
        offer_of(tmp_path / "public")


def test_people_read_licence_origin_and_size() -> None:
    lines = in_words(parse_offer(wire()))
    assert lines[0] == f"offer {parse_offer(wire()).digest}"
    assert lines[2:] == [
        "  images: 2, PNG of 32 x 32 pixels, 1,000 bytes",
        "  source: drawn",
        "  licence: CC BY 4.0",
        "  citation: Somebody, 2020",
    ]
