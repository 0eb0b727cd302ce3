"""Partition a pool over sites: evenly, with label skew, with quantity skew, or by where the images were taken.

Every function returns one ascending index array per site; together they cover the pool exactly once, and a group
lies at one site.
"""

from collections.abc import Callable, Sequence

import numpy as np

from mdhfl.preprocessing.partition.groups import Indices, Labels, joined, unit_labels

SPLIT_KINDS = ("iid", "dirichlet", "by_source", "quantity")
DRAWS = 100  # of a skewed partition before the smallest site is filled up instead


def iid(units: Sequence[Indices], *, sites: int, minimum: int = 1, generator: np.random.Generator) -> list[Indices]:
    """Shuffle the units and deal them out, each to the site with the fewest images so far.

    Raises:
        ValueError: a minimum that the pool cannot give to all sites.
    """
    _check_sites(sites, units)
    _check_minimum(units, sites=sites, minimum=minimum)
    piles: list[list[Indices]] = [[] for _ in range(sites)]
    sizes = np.zeros(sites, dtype=np.int64)
    for index in generator.permutation(len(units)):
        site = int(sizes.argmin())
        piles[site].append(units[index])
        sizes[site] += len(units[index])
    return [joined(pile) for pile in piles]


def dirichlet(
    units: Sequence[Indices],
    *,
    labels: Labels,
    sites: int,
    alpha: float,
    minimum: int,
    generator: np.random.Generator,
) -> list[Indices]:
    """Label skew: each class is cut in shares drawn from Dirichlet(alpha, ..., alpha) (Hsu et al., arXiv 1909.06335).

    Drawn again until every site has the minimum; if it never happens, the last draw is repaired by moving random
    units from the largest site to the smallest.

    Args:
        units: images that stay together; a unit counts as its commonest class.
        labels: (n,) class of each image.
        alpha: above 0; small: each class lies at few sites, large: near to iid.
        minimum: images that every site gets at least.

    Raises:
        ValueError: alpha, or a minimum that the pool cannot give to all sites.
    """
    _check_sites(sites, units)
    _check_alpha(alpha)
    _check_minimum(units, sites=sites, minimum=minimum)
    classes = unit_labels(units, labels=labels)

    def draw() -> list[list[int]]:
        piles: list[list[int]] = [[] for _ in range(sites)]
        for label in np.unique(classes):
            members = generator.permutation(np.flatnonzero(classes == label))
            _deal(members, piles=piles, units=units, shares=generator.dirichlet(np.full(sites, alpha)))
        return piles

    return _filled(draw, units=units, minimum=minimum, generator=generator)


def quantity_skew(
    units: Sequence[Indices], *, sites: int, alpha: float, minimum: int, generator: np.random.Generator
) -> list[Indices]:
    """Sites of unequal size and equal class mix: their shares of the pool are drawn from Dirichlet(alpha, ..., alpha).

    Raises:
        ValueError: as for `dirichlet`.
    """
    _check_sites(sites, units)
    _check_alpha(alpha)
    _check_minimum(units, sites=sites, minimum=minimum)

    def draw() -> list[list[int]]:
        piles: list[list[int]] = [[] for _ in range(sites)]
        shares = generator.dirichlet(np.full(sites, alpha))
        _deal(generator.permutation(len(units)), piles=piles, units=units, shares=shares)
        return piles

    return _filled(draw, units=units, minimum=minimum, generator=generator)


def by_origin(origins: Sequence[str]) -> dict[str, Indices]:
    """One site for each origin, in alphabetical order."""
    names = np.array(origins, dtype=object)
    return {name: np.flatnonzero(names == name) for name in sorted(set(origins))}


def _deal(members: np.ndarray, *, piles: list[list[int]], units: Sequence[Indices], shares: np.ndarray) -> None:
    sizes = np.array([len(units[member]) for member in members])
    middles = np.cumsum(sizes) - sizes / 2
    sites = np.searchsorted(np.cumsum(shares)[:-1] * sizes.sum(), middles)
    for member, site in zip(members.tolist(), sites.tolist(), strict=True):
        piles[site].append(member)


def _filled(
    draw: Callable[[], list[list[int]]], *, units: Sequence[Indices], minimum: int, generator: np.random.Generator
) -> list[Indices]:
    for _ in range(DRAWS):
        piles = draw()
        sizes = [sum(len(units[member]) for member in pile) for pile in piles]
        if min(sizes) >= minimum:
            break
    for _ in range(2 * len(units)):
        if min(sizes) >= minimum:
            break
        giver, taker = int(np.argmax(sizes)), int(np.argmin(sizes))
        member = piles[giver].pop(int(generator.integers(len(piles[giver]))))
        piles[taker].append(member)
        sizes[giver] -= len(units[member])
        sizes[taker] += len(units[member])
    if min(sizes) < minimum:
        largest = max(len(unit) for unit in units)
        raise ValueError(
            f"minimum of {minimum} images per site: no partition found, as images of one group stay together and the "
            f"largest group has {largest}; lower --minimum, --per-site or --sites"
        )
    return [joined([units[member] for member in pile]) for pile in piles]


def _check_sites(sites: int, units: Sequence[Indices]) -> None:
    if sites < 1:
        raise ValueError(f"sites={sites}: expected at least 1")
    if len(units) < sites:
        raise ValueError(f"{sites} sites, but only {len(units)} images or groups to divide: lower --sites or add data")


def _check_alpha(alpha: float) -> None:
    if not 0 < alpha < float("inf"):
        raise ValueError(f"alpha={alpha}: expected a number above 0 (0.1: strong skew, 0.5: usual, 100: almost none)")


def _check_minimum(units: Sequence[Indices], *, sites: int, minimum: int) -> None:
    total = sum(len(unit) for unit in units)
    if minimum * sites > total:
        raise ValueError(
            f"{sites} sites with at least {minimum} images each need {minimum * sites}, the pool has {total}: "
            f"lower --per-site or --minimum (at most {total // sites} images per site, all parts together) or --sites"
        )
