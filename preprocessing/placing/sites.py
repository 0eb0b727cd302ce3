"""What a site is given: its pictures by part, and the labels that noise turned."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mdhfl.preprocessing.arguments import PrepareArguments
from mdhfl.preprocessing.partition.noise import add_noise, confusion_counts, noise_matrix
from mdhfl.preprocessing.placing.plan import Place
from mdhfl.preprocessing.pool.read import Picture
from mdhfl.preprocessing.raw.records import PARTS
from mdhfl.seeds import stream


@dataclass(frozen=True)
class Item:
    """A picture at a site; `label` is what the site is told, `clean` what is true."""

    picture: Picture
    label: int
    clean: int


@dataclass(frozen=True)
class PlacedSite:
    """A site's images by part, in the order of their numbers.

    Attributes:
        noise: kind, asked rate, realised rate, counts clean -> given.
    """

    name: str
    parts: dict[str, list[Item]]
    noise_kind: str
    noise_rate: float
    realised_rate: float
    confusion: list[list[int]]


def place_sites(
    pictures: Mapping[Place, list[Picture]], *, arguments: PrepareArguments, classes: Sequence[str]
) -> list[PlacedSite]:
    """Give each site its pictures, and add label noise.

    Args:
        pictures: of each place.
        arguments: with defaults filled in.

    Raises:
        ValueError: the noise does not fit, or no site has a picture to train on.
    """
    sites = int(arguments.sites or 0)
    rates = _rates(arguments, sites=sites)
    placed = []
    for number in range(1, sites + 1):
        name = f"site-{number}"
        parts = {part: pictures[name, part] for part in PARTS}
        placed.append(_with_noise(name, parts, rate=rates[number - 1], arguments=arguments, classes=classes))
    _check_training(placed)
    return placed


def _check_training(sites: Sequence[PlacedSite]) -> None:
    if not any(site.parts["training"] for site in sites):
        others = ", ".join(f"{part} {sum(len(site.parts[part]) for site in sites)}" for part in PARTS)
        raise ValueError(
            f"no training images at any site ({others}): a split that the raw data fixes (folders or columns called "
            "train, test, ...) is kept; rename them, or add training images"
        )


def _with_noise(
    name: str,
    parts: dict[str, list[Picture]],
    *,
    rate: float,
    arguments: PrepareArguments,
    classes: Sequence[str],
) -> PlacedSite:
    matrix = noise_matrix(arguments.noise, rate=rate, classes=classes, file=arguments.noise_matrix)
    kind = "none" if arguments.noise != "matrix" and rate == 0 else arguments.noise
    clean = _labels(parts["training"])
    noisy = add_noise(clean, matrix=matrix, generator=stream(arguments.seed, "noise", name))
    items = {
        part: [Item(one, label=int(one.candidate.label or 0), clean=int(one.candidate.label or 0)) for one in pictures]
        for part, pictures in parts.items()
    }
    items["training"] = [
        Item(item.picture, label=int(label), clean=item.clean)
        for item, label in zip(items["training"], noisy, strict=True)
    ]
    flipped = float((clean != noisy).mean()) if len(clean) else 0.0
    expected = 1 - float(np.diag(matrix)[clean].mean()) if len(clean) and kind == "matrix" else rate
    return PlacedSite(
        name=name,
        parts=items,
        noise_kind=kind,
        noise_rate=expected if kind != "none" else 0.0,
        realised_rate=flipped,
        confusion=confusion_counts(clean, noisy, classes=len(classes)),
    )


def _rates(arguments: PrepareArguments, *, sites: int) -> list[float]:
    rates = list(arguments.noise_rate) or [0.0]
    if len(rates) == 1:
        rates *= sites
    if len(rates) != sites:
        raise ValueError(f"noise rates: expected 1 or {sites} (one per site), got {len(rates)}")
    return [0.0] * sites if arguments.noise == "none" else rates


def _labels(pictures: Sequence[Picture]) -> np.ndarray:
    return np.array([picture.candidate.label for picture in pictures], dtype=np.int64)
