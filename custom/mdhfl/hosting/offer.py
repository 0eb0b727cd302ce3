"""What a server offers: a public set as a list of digests and sizes, with its licence; no image, no name, no label.

The list's digest is the public set's, which every request of an experiment names; the offer's own covers the licence
and each file as well, and is what a site accepts.
"""

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any

from mdhfl.digests import list_digest, values_digest
from mdhfl.files import PREPARED_BYTES, open_regular, read_checked, write_atomically
from mdhfl.sharing.checks import LONGEST_TEXT, MessageError, count, names, record, text

FORMAT = 1
MOST_IMAGES = 50_000
LARGEST_OFFER = 8 * 2**20  # bytes; 50,000 images take 5 MB
LARGEST_SIDE = 4096  # pixels
HEXADECIMAL = frozenset("0123456789abcdef")
READ_AT_ONCE = 2**20  # bytes


@dataclass(frozen=True)
class OfferedImage:
    """One image of an offer.

    Attributes:
        digest: of its pixels, 16 hexadecimal digits.
        size: of its file, in bytes.
        sha256: of its file, 64 hexadecimal digits.
    """

    digest: str
    size: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Offer:
    """A public set as a server offers it.

    Attributes:
        licence: of the images.
        citation: of their source.
        source: where they come from.
        image_size: their side in pixels.
        images: in the order that every site has.
    """

    licence: str
    citation: str
    source: tuple[str, ...]
    image_size: int
    images: tuple[OfferedImage, ...]

    @cached_property
    def public_digest(self) -> str:
        """The digest by which an experiment names the set, 64 hexadecimal digits."""
        return list_digest(image.digest for image in self.images)

    @cached_property
    def digest(self) -> str:
        """What a site accepts: 64 hexadecimal digits of the licence, the origin and every file."""
        return values_digest(self.to_json())

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """Where each image's file begins if all are put one behind the other, and where the last one ends."""
        return (0, *accumulate(image.size for image in self.images))

    @property
    def bytes(self) -> int:
        """All files together."""
        return self.starts[-1]

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "version": FORMAT,
            "public_digest": self.public_digest,
            "licence": self.licence,
            "citation": self.citation,
            "source": list(self.source),
            "image_size": self.image_size,
            "images": [[image.digest, image.size, image.sha256] for image in self.images],
        }

    @classmethod
    def from_json(cls, values: Any) -> "Offer":
        """Rebuild an offer, whoever made it. Raises MessageError, naming the field."""
        fields = record(values, what="offer", fields=("version", "public_digest", *cls.__dataclass_fields__))
        count(fields["version"], what="offer's version", low=FORMAT, high=FORMAT)
        listed = fields["images"]
        if not isinstance(listed, list) or not 1 <= len(listed) <= MOST_IMAGES:
            raise MessageError(f"offer's images: expected a list of 1 to {MOST_IMAGES}, got something else")
        offer = cls(
            licence=text(fields["licence"], what="offer's licence", longest=LONGEST_TEXT),
            citation=text(fields["citation"], what="offer's citation", longest=LONGEST_TEXT),
            source=names(fields["source"], what="offer's source"),
            image_size=count(fields["image_size"], what="offer's image size", low=1, high=LARGEST_SIDE),
            images=tuple(_image(values, what=f"offer's image {number}") for number, values in enumerate(listed)),
        )
        if len({image.digest for image in offer.images}) < len(offer.images):
            raise MessageError("offer's images: expected each image once, got one twice")
        if hexadecimal(fields["public_digest"], what="offer's public digest", length=64) != offer.public_digest:
            raise MessageError("offer's public digest: it is not that of its images")
        return offer


def parse_offer(payload: bytes) -> Offer:
    """Read an offer as it travelled or was kept. Raises MessageError."""
    if len(payload) > LARGEST_OFFER:
        raise MessageError(f"offer: expected at most {LARGEST_OFFER} bytes, got {len(payload)}")
    try:
        values = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise MessageError(f"offer: expected JSON, got something else ({type(error).__name__})") from error
    return Offer.from_json(values)


def read_offer(path: Path) -> Offer:
    """Read an offer from a file.

    Raises:
        OSError: there is none that can be read.
        ValueError: it is none.
    """
    with open_regular(path) as file:
        payload = file.read(LARGEST_OFFER + 1)
    try:
        return parse_offer(payload)
    except MessageError as error:
        raise ValueError(f"{path}: {error}; `mdhfl consortium offer` writes one") from error


def write_offer(path: Path, offer: Offer) -> None:
    """Write an offer, whole or not at all. Raises StateError."""
    payload = payload_of(offer)
    write_atomically(path, lambda file: file.write(payload))


def payload_of(offer: Offer) -> bytes:
    """Return an offer as it travels and is kept."""
    return json.dumps(offer.to_json(), separators=(",", ":")).encode() + b"\n"


def offer_of(folder: Path) -> Offer:
    """Return the offer of a federation's public folder.

    Args:
        folder: with datalist.json, card.json and images/; the images are not decoded.

    Raises:
        OSError: a file is missing or cannot be read.
        ValueError: its lists are damaged, or it is more than a site would take.
    """
    missing = f"{folder}: expected a federation's public folder, found no"
    card = read_checked(folder / "card.json", schema="card", missing=f"{missing} card.json")
    listed = read_checked(folder / "datalist.json", schema="datalist", missing=f"{missing} datalist.json")
    if "public" not in listed:
        raise ValueError(f"{folder / 'datalist.json'}: expected a list `public`, found labelled images")
    images = [_image_in(folder / item["image"], digest=item["digest"]) for item in listed["public"]]
    values = {"version": FORMAT, "public_digest": card.get("digest"), "image_size": card["image_size"]}
    values |= {name: card[name] for name in ("licence", "citation", "source")}
    try:
        return Offer.from_json({**values, "images": images})
    except MessageError as error:
        raise ValueError(f"{folder}: {error}; prepare the public set again") from error


def hexadecimal(value: Any, *, what: str, length: int) -> str:
    """Return a text of so many hexadecimal digits. Raises MessageError."""
    found = text(value, what=what)
    if len(found) != length or not HEXADECIMAL.issuperset(found):
        raise MessageError(f"{what}: expected {length} hexadecimal digits, got {found!r}")
    return found


def _image(values: Any, *, what: str) -> OfferedImage:
    if not isinstance(values, list) or len(values) != 3:
        raise MessageError(f"{what}: expected digest, size and SHA-256, got something else")
    digest, size, sha256 = values
    return OfferedImage(
        digest=hexadecimal(digest, what=f"{what}: digest", length=16),
        size=count(size, what=f"{what}: size", low=1, high=PREPARED_BYTES),
        sha256=hexadecimal(sha256, what=f"{what}: SHA-256", length=64),
    )


def _image_in(path: Path, *, digest: str) -> list[Any]:
    size, sha256 = measure(path)
    return [digest, size, sha256]


def measure(path: Path) -> tuple[int, str]:
    """Return the size in bytes and the SHA-256 of a file. Raises OSError."""
    size, sha256 = 0, hashlib.sha256()
    with open_regular(path) as file:
        while part := file.read(READ_AT_ONCE):
            size += len(part)
            sha256.update(part)
    return size, sha256.hexdigest()


def in_words(offer: Offer) -> list[str]:
    """Return the lines by which people judge an offer; its texts are others' and must be shown as such."""
    return [
        f"offer {offer.digest}",
        f"  public set: {offer.public_digest}",
        f"  images: {len(offer.images)}, PNG of {offer.image_size} x {offer.image_size} pixels, {offer.bytes:,} bytes",
        f"  source: {', '.join(offer.source) or 'not stated'}",
        f"  licence: {offer.licence or 'not stated'}",
        f"  citation: {offer.citation or 'not stated'}",
    ]
