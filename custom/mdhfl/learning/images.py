"""A site's images in memory: decoded once by its bundle's transforms, kept as uint8, every digest verified."""

import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mdhfl.digests import image_digest, list_digest
from mdhfl.files import FEDERATION_FORMAT, PREPARED_PIXELS, OtherFormat, check_format, check_prepared_image

if TYPE_CHECKING:
    from torch import Tensor

Decode = Callable[[dict[str, Any]], Mapping[str, Any]]
Decoded = tuple[np.ndarray, list[str]]  # (M, 3, S, S) uint8 and one digest an image
Keep = Callable[[Sequence[Mapping[str, Any]], Callable[[], Decoded]], Decoded]  # what is listed, how to decode it

PARTS = ("training", "validation", "test")


def decode_anew(items: Sequence[Mapping[str, Any]], decode_all: Callable[[], Decoded]) -> Decoded:
    """Keep nothing: decode whenever asked."""
    return decode_all()


class DataError(ValueError):
    """A federation folder that is not what its datalist says; the message names the file and the way out."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """One labelled part of a site's data.

    Attributes:
        images: (M, 3, S, S) uint8.
        labels: (M,) int64, indices into the classes.
    """

    images: "Tensor"
    labels: "Tensor"


@dataclass(frozen=True, kw_only=True)
class PrivateSet:
    """A site's labelled images and the classes that they are labelled with."""

    training: Part
    validation: Part
    test: Part
    classes: tuple[str, ...]
    missing_classes: tuple[str, ...]


def load_private_set(folder: Path, *, decode: Decode, image_size: int, keep: Keep = decode_anew) -> PrivateSet:
    """Decode a site's folder.

    Args:
        folder: with datalist.json, card.json and images/.
        decode: the bundle's deterministic transforms: {"image": path} -> {"image": (3, S, S) uint8, ...}.
        image_size: S in pixels.
        keep: gives what was decoded before, or decodes it.

    Raises:
        DataError: a file is missing, unreadable or changed, an image has another size, a label is out of range, or
            there are fewer than two training images.
    """
    card, items = read_listed(folder / "card.json"), read_listed(folder / "datalist.json")
    classes = tuple(card["classes"])
    parts = {}
    for name in PARTS:
        listed = items[name]
        labels = [item["label"] for item in listed]
        wrong = [item for item in listed if not 0 <= item["label"] < len(classes)]
        if wrong:
            raise DataError(
                f"{folder / 'datalist.json'}: {name}: expected labels 0 to {len(classes) - 1}, got "
                f"{wrong[0]['label']} for {wrong[0]['image']}; prepare the folder again"
            )
        images, _ = keep(listed, partial(_decode_all, folder, listed, decode=decode, image_size=image_size))
        parts[name] = _part(images, labels)
    if len(parts["training"].labels) < 2:
        raise DataError(f"{folder}: expected at least 2 training images, got {len(parts['training'].labels)}")
    return PrivateSet(**parts, classes=classes, missing_classes=tuple(card.get("missing_classes", ())))


def load_public_set(folder: Path, *, decode: Decode, image_size: int, keep: Keep = decode_anew) -> tuple["Tensor", str]:
    """Decode the public set.

    Returns:
        (N, 3, S, S) uint8 images in the order that every site has, and the digest of what was read.

    Raises:
        DataError: as for `load_private_set`.
    """
    import torch

    listed = read_listed(folder / "datalist.json")["public"]
    images, digests = keep(listed, partial(_decode_all, folder, listed, decode=decode, image_size=image_size))
    return torch.from_numpy(images), list_digest(digests)


def load_labelled_part(folder: Path, name: str, *, decode: Decode, image_size: int) -> Part:
    """Decode one part of a folder with labels, for example the server's validation part.

    Raises:
        DataError: as for `load_private_set`.
    """
    listed = read_listed(folder / "datalist.json")[name]
    images, _ = _decode_all(folder, listed, decode=decode, image_size=image_size)
    return _part(images, [item["label"] for item in listed])


def classes_of(folder: Path) -> tuple[str, ...]:
    """Return the ordered class names that a folder's labels mean, as its card says."""
    return tuple(read_listed(folder / "card.json")["classes"])


def digest_of_private_set(folder: Path) -> str:
    """Return the digest of a site's data as its datalist names it: every image and label, in order.

    Raises:
        DataError: there is no datalist, or it is damaged.
    """
    listed = read_listed(folder / "datalist.json")
    try:
        return list_digest(f"{item['digest']} {item['label']}" for part in PARTS for item in listed[part])
    except (KeyError, TypeError) as error:
        raise DataError(
            f"{folder / 'datalist.json'}: expected {', '.join(PARTS)}, each with images; got {error}"
        ) from error


def image_size_of(folder: Path) -> int:
    """Return the side in pixels of the images in a site's or the public folder, as its card says.

    Raises:
        DataError: there is no card, or it says what cannot be.
    """
    size = read_listed(folder / "card.json")["image_size"]
    most = math.isqrt(PREPARED_PIXELS)
    if not isinstance(size, int) or not 1 <= size <= most:
        raise DataError(f"{folder / 'card.json'}: expected an image_size from 1 to {most}, got {str(size)[:40]}")
    return size


def _part(images: np.ndarray, labels: Sequence[int]) -> Part:
    import torch

    return Part(images=torch.from_numpy(images), labels=torch.tensor(labels, dtype=torch.int64))


def _decode_all(folder: Path, items: Sequence[Mapping[str, Any]], *, decode: Decode, image_size: int) -> Decoded:
    shape = (3, image_size, image_size)
    _check_memory(folder, len(items) * math.prod(shape))
    images = np.empty((len(items), *shape), dtype=np.uint8)
    digests = []
    for index, item in enumerate(items):
        path = folder / item["image"]
        if not path.exists():
            raise DataError(f"{path}: listed in datalist.json but missing; copy the federation folder again")
        try:
            check_prepared_image(path)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise DataError(f"{path}: cannot be decoded ({reason}); copy the federation folder again") from error
        try:
            pixels = np.asarray(decode({"image": str(path)})["image"])
        except Exception as error:
            raise DataError(f"{path}: cannot be decoded ({type(error).__name__}); copy the folder again") from error
        if pixels.shape != shape:
            raise DataError(
                f"{path}: expected an image of shape {shape}, got {pixels.shape}; prepare the folder again with "
                f"--image-size {image_size}"
            )
        if pixels.dtype != np.uint8:
            raise DataError(
                f"{path}: the bundle's deterministic_transforms gave {pixels.dtype}, expected uint8; "
                "move scaling to its intensity_transform"
            )
        digest = image_digest(pixels.transpose(1, 2, 0))
        if digest != item["digest"]:
            raise DataError(
                f"{path}: expected digest {item['digest']}, got {digest}: the image was changed after it was "
                "prepared; copy the federation folder again, or prepare it again"
            )
        images[index] = pixels
        digests.append(digest)
    return images, digests


def _check_memory(folder: Path, size: int) -> None:
    """Refuse images that this machine could not hold: decoding them would take others' memory first."""
    if not hasattr(os, "sysconf"):  # Windows
        return
    installed = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if size > installed:
        raise DataError(
            f"{folder}: too large: the images of one part take {size:,} bytes, this machine has {installed:,}; "
            "prepare the folder again with fewer or smaller images (--per-site, --image-size)"
        )


def read_listed(path: Path) -> dict[str, Any]:
    """Read the datalist.json or card.json of a folder that `mdhfl prepare` wrote. Raises DataError."""
    if not path.is_file():
        raise DataError(f"{path}: missing; is {path.parent} a folder that `mdhfl prepare` wrote?")
    try:
        values = dict(json.loads(path.read_text(encoding="utf-8")))
        check_format(values, reads=FEDERATION_FORMAT, what=str(path), way_out="prepare the data anew with this one")
        return values
    except OtherFormat as error:
        raise DataError(str(error)) from error
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"{path}: not valid JSON ({error}); copy the federation folder again") from error
