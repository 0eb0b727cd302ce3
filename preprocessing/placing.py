"""Which picture goes where: the held-out public part, the sites, their parts, and the labels that noise turned."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mdhfl.preprocessing.arguments import PrepareArguments
from mdhfl.preprocessing.partition.groups import Indices, joined, units_of
from mdhfl.preprocessing.partition.noise import add_noise, confusion_counts, noise_matrix
from mdhfl.preprocessing.partition.parts import split_parts, stratified_subset
from mdhfl.preprocessing.partition.sites import by_origin, dirichlet, iid, quantity_skew
from mdhfl.preprocessing.pool.read import Picture
from mdhfl.preprocessing.raw.records import PARTS
from mdhfl.seeds import stream

HOLDOUT_SHARE = 0.2  # of the pool, where no count is given


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


def hold_out(pictures: Sequence[Picture], *, count: int | None, seed: int) -> tuple[list[Picture], list[Picture]]:
    """Take a public part away from the pool: whole groups, so that no patient is both public and private.

    Returns:
        The public part (exactly the count) and the rest of the pool.

    Raises:
        ValueError: the pool is too small.
    """
    wanted = max(1, round(HOLDOUT_SHARE * len(pictures))) if count is None else count
    generator = stream(seed, "holdout")
    taken: list[Indices] = []
    units = units_of(_groups(pictures))
    count_so_far = 0
    for index in generator.permutation(len(units)):
        if count_so_far >= wanted:
            break
        taken.append(units[index])
        count_so_far += len(units[index])
    public = joined(taken)
    rest = np.setdiff1d(np.arange(len(pictures)), public)
    if len(public) < wanted or not len(rest):
        raise ValueError(f"public holdout of {wanted} images: the pool has only {len(pictures)}; lower --public-count")
    public = generator.permutation(public)[:wanted]
    return [pictures[index] for index in public], [pictures[index] for index in rest]


def take_for_server(
    pictures: Sequence[Picture], *, count: int, seed: int, keep: int
) -> tuple[list[Picture], list[Picture]]:
    """Take a labelled part for the server away from the pool: stratified by class, whole groups.

    Args:
        count: images to take, 0 or more.
        keep: images that the sites need.

    Returns:
        The server's part (exactly the count) and the rest of the pool.

    Raises:
        ValueError: the pool is too small.
    """
    if not count:
        return [], list(pictures)
    labels = _labels(pictures)
    share = (count + len(np.unique(labels))) / max(len(pictures), 1)  # whole groups and rounding may take some less
    enough = len(pictures) - count >= keep and share < 1
    generator = stream(seed, "server validation")
    pieces = (
        split_parts(labels, fractions=(1 - share, share), groups=_groups(pictures), generator=generator)
        if enough
        else []
    )
    if not enough or len(pieces[1]) < count:
        raise ValueError(
            f"server validation of {count} images: the pool has {len(pictures)}, and the sites need at least {keep}; "
            "lower --server-validation"
        )
    chosen = pieces[1][stratified_subset(labels[pieces[1]], count=count, generator=generator)]
    spare = [index for index in np.setdiff1d(pieces[1], chosen) if pictures[index].record.group is None]
    rest = np.sort(np.concatenate([pieces[0], np.array(spare, dtype=np.int64)]))
    return [pictures[index] for index in chosen], [pictures[index] for index in rest]


def sites_need(arguments: PrepareArguments) -> int:
    """Images that all sites together need at least."""
    return int(arguments.sites or 0) * _minimum(arguments)


def place(pictures: Sequence[Picture], *, arguments: PrepareArguments, classes: Sequence[str]) -> list[PlacedSite]:
    """Partition the pool over sites, split each site in parts, trim them, add label noise.

    Args:
        arguments: with defaults filled in.

    Raises:
        ValueError: the pool cannot be partitioned as asked, or the noise does not fit.
    """
    rates = _rates(arguments, sites=int(arguments.sites or 0))
    piles = _partition(pictures, arguments=arguments)
    placed = []
    for number, pile in enumerate(piles, start=1):
        name = f"site-{number}"
        mine = [pictures[index] for index in pile]
        parts = _parts(mine, arguments=arguments, site=name)
        placed.append(_with_noise(name, parts, rate=rates[number - 1], arguments=arguments, classes=classes))
    return placed


def _partition(pictures: Sequence[Picture], *, arguments: PrepareArguments) -> list[Indices]:
    sites, minimum = int(arguments.sites or 0), _minimum(arguments)
    generator = stream(arguments.seed, "partition")
    if arguments.split == "by_source":
        piles = by_origin([picture.origin for picture in pictures])
        if len(piles) != sites:
            raise ValueError(
                f"split by source: sites={sites}, but the data has {len(piles)} origin(s) ({', '.join(piles)}); "
                "leave --sites out, or add data with --also"
            )
        for origin, pile in piles.items():
            if len(pile) < arguments.minimum:
                raise ValueError(f"origin {origin}: {len(pile)} images, less than --minimum {arguments.minimum}")
        return list(piles.values())
    units = units_of(_groups(pictures))
    labels = _labels(pictures)
    if arguments.split == "dirichlet":
        return dirichlet(units, labels=labels, sites=sites, alpha=arguments.alpha, minimum=minimum, generator=generator)
    if arguments.split == "quantity":
        return quantity_skew(units, sites=sites, alpha=arguments.alpha, minimum=minimum, generator=generator)
    return iid(units, sites=sites, minimum=minimum, generator=generator)


def _parts(pictures: Sequence[Picture], *, arguments: PrepareArguments, site: str) -> dict[str, list[Picture]]:
    """Split a site: what its source fixed stays, the rest is split by class and group; then each part is trimmed."""
    fixed = [index for index, picture in enumerate(pictures) if picture.record.part]
    free = [index for index, picture in enumerate(pictures) if not picture.record.part]
    fractions = (1 - arguments.validation - arguments.test, arguments.validation, arguments.test)
    open_ones = [pictures[index] for index in free]
    fold = (1 - arguments.validation, arguments.validation, 0.0)  # the test part is the fold's, and no others'
    pieces = split_parts(
        _labels(open_ones),
        fractions=fractions if arguments.fold is None else fold,
        groups=_groups(open_ones),
        generator=stream(arguments.seed, "split", site),
    )
    parts = {part: [open_ones[index] for index in piece] for part, piece in zip(PARTS, pieces, strict=True)}
    for index in fixed:
        parts[str(pictures[index].record.part)].append(pictures[index])
    if arguments.per_site is None:
        return parts
    trimmed = {}
    for part, fraction in zip(PARTS, fractions, strict=True):
        count = round(arguments.per_site * fraction / fractions[0])
        generator = stream(arguments.seed, "trim", site, part)
        kept = stratified_subset(_labels(parts[part]), count=count, generator=generator)
        trimmed[part] = [parts[part][index] for index in kept]
    return trimmed


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
        part: [Item(picture, label=int(picture.label or 0), clean=int(picture.label or 0)) for picture in pictures]
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


def _minimum(arguments: PrepareArguments) -> int:
    """Images a site needs, all parts together, so that its training part can have what was asked for."""
    training = 1 - arguments.validation - arguments.test
    quota = 0 if arguments.per_site is None else int(np.ceil(arguments.per_site / training - 1e-9))
    return max(arguments.minimum, quota)


def _rates(arguments: PrepareArguments, *, sites: int) -> list[float]:
    rates = list(arguments.noise_rate) or [0.0]
    if len(rates) == 1:
        rates *= sites
    if len(rates) != sites:
        raise ValueError(f"noise rates: expected 1 or {sites} (one per site), got {len(rates)}")
    return [0.0] * sites if arguments.noise == "none" else rates


def _labels(pictures: Sequence[Picture]) -> Indices:
    return np.array([picture.label for picture in pictures], dtype=np.int64)


def _groups(pictures: Sequence[Picture]) -> list[tuple[str, str] | None]:
    return [None if picture.record.group is None else (picture.origin, picture.record.group) for picture in pictures]
