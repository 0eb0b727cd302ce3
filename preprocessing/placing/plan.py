"""A place for every candidate before any is read: the public set, the server's part, the sites and their parts."""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from mdhfl.preprocessing.arguments import HOLDOUT, PREPARED, PrepareArguments
from mdhfl.preprocessing.partition.groups import Indices, Labels, joined, units_of
from mdhfl.preprocessing.partition.parts import drawing_turns, first_of_each, split_parts, stratified_subset
from mdhfl.preprocessing.partition.sites import by_origin, dirichlet, iid, quantity_skew
from mdhfl.preprocessing.pool.candidates import Candidate, Candidates
from mdhfl.preprocessing.raw.records import PARTS
from mdhfl.seeds import stream

Place = tuple[str, str]  # a site and its part; or one of:
PUBLIC: Place = ("public", "")
SERVER: Place = ("server", "")

HOLDOUT_SHARE = 0.2  # of the pool, at most, where no count is given


@dataclass
class Plan:
    """Where each candidate belongs, and which of them a place takes first.

    Attributes:
        labels: (n,) class of each candidate; -1: unlabelled.
        home: a candidate's place; those that are left out have none.
        order: a candidate's rank in its place's list.
        turn: a candidate's rank when its place draws: in all, or among those of its class.
        counts: images that a place takes; None: all of its own. Has every place.
    """

    labels: Labels
    home: dict[int, Place] = field(default_factory=dict)
    order: dict[int, int] = field(default_factory=dict)
    turn: dict[int, int] = field(default_factory=dict)
    counts: dict[Place, int | None] = field(default_factory=dict)
    moves: int = 0

    def drawn(self) -> dict[Place, list[int]]:
        """What each place takes, in the order of its list."""
        members: dict[Place, list[int]] = {place: [] for place in self.counts}
        for index, place in self.home.items():
            members[place].append(index)
        return {place: self._taken(place, sorted(mine, key=self.order.__getitem__)) for place, mine in members.items()}

    def move(self, index: int, place: Place) -> None:
        """Give a candidate another place, last in its list."""
        self.home[index] = place
        self.order[index] = self.turn[index] = len(self.labels) + self.moves
        self.moves += 1

    def leave_out(self, indices: Iterable[int]) -> None:
        """Give candidates no place."""
        for index in indices:
            self.home.pop(index, None)

    def _add(self, place: Place, members: Sequence[int], *, turns: Sequence[int], count: int | None) -> None:
        self.counts[place] = count
        for number, (index, turn) in enumerate(zip(members, turns, strict=True)):
            self.home[index], self.order[index], self.turn[index] = place, number, turn

    def _taken(self, place: Place, mine: list[int]) -> list[int]:
        count = self.counts[place]
        if count is None or count >= len(mine):
            return mine
        turns = np.array([self.turn[index] for index in mine])
        if place in (PUBLIC, SERVER):
            chosen = np.sort(np.argsort(turns, kind="stable")[:count])
        else:
            chosen = first_of_each(self.labels[mine], turns=turns, count=count)
        return [mine[place] for place in chosen.tolist()]


def plan(candidates: Candidates, *, left_out: frozenset[int], units: Indices, arguments: PrepareArguments) -> Plan:
    """Give every candidate a place: whole units, so that no patient lies on two sides.

    Args:
        left_out: candidates that are known to be none.
        units: (n,) number of each candidate's unit.
        arguments: with defaults filled in.

    Raises:
        ValueError: there are too few candidates for what was asked for.
    """
    listed = candidates.listed
    labels = np.array([-1 if one.label is None else one.label for one in listed], dtype=np.int64)
    found = Plan(labels)
    private = np.array([i for i in range(candidates.private) if i not in left_out], dtype=np.int64)
    if not len(private):
        raise ValueError(f"no images left of {candidates.private}: all are duplicates, or cannot be read")
    if arguments.public == HOLDOUT:
        wanted: int | None = public_count(arguments, pool=len(private))
        shown, private = _held_out(private, units=units, arguments=arguments)
    else:
        wanted = arguments.public_count
        others = np.array([i for i in range(candidates.private, len(listed)) if i not in left_out], dtype=np.int64)
        shown = others[stream(arguments.seed, "public").permutation(len(others))]
    if arguments.public != PREPARED:
        found._add(PUBLIC, shown.tolist(), turns=range(len(shown)), count=wanted)
    if arguments.server_validation:
        count = arguments.server_validation
        chosen, private = take_for_server(
            private, labels=labels, units=units, grouped=_grouped(units), count=count, seed=arguments.seed,
            keep=sites_need(arguments),
        )  # fmt: skip
        found._add(SERVER, chosen.tolist(), turns=range(len(chosen)), count=count)
    piles = _partition(private, listed=listed, labels=labels, units=units, arguments=arguments)
    for number, pile in enumerate(piles, start=1):
        _add_parts(found, f"site-{number}", pile, listed=listed, units=units, arguments=arguments)
    return found


def public_count(arguments: PrepareArguments, *, pool: int) -> int:
    """Images of a held-out public set: as many as a site trains on, at most a fifth of the pool."""
    if arguments.public_count is not None:
        return arguments.public_count
    fifth = max(1, round(HOLDOUT_SHARE * pool))
    return fifth if arguments.per_site is None else min(fifth, arguments.per_site)


def take_for_server(
    among: Indices,
    *,
    labels: Labels,
    units: Indices,
    grouped: Labels,
    count: int,
    seed: int,
    keep: int,
) -> tuple[Indices, Indices]:
    """Take a labelled part for the server away from the pool: stratified by class, whole units.

    Args:
        among: candidates to choose from.
        labels: (n,) class of each candidate.
        units: (n,) number of each candidate's unit.
        grouped: (n,) whether its unit has others in it.
        count: images to take, 1 or more.
        keep: images that the sites need.

    Returns:
        The server's part (exactly the count) and the rest of the pool.

    Raises:
        ValueError: the pool is too small.
    """
    mine = labels[among]
    share = (count + len(np.unique(mine))) / max(len(among), 1)  # whole groups and rounding may take some less
    enough = len(among) - count >= keep and share < 1
    generator = stream(seed, "server validation")
    pieces = (
        split_parts(mine, fractions=(1 - share, share), groups=units[among].tolist(), generator=generator)
        if enough
        else []
    )
    if not enough or len(pieces[1]) < count:
        raise ValueError(
            f"server validation of {count} images: the pool has {len(among)}, and the sites need at least {keep}; "
            "lower --server-validation"
        )
    chosen = pieces[1][stratified_subset(mine[pieces[1]], count=count, generator=generator)]
    spare = [index for index in np.setdiff1d(pieces[1], chosen) if not grouped[among[index]]]
    rest = np.sort(np.concatenate([pieces[0], np.array(spare, dtype=np.int64)]))
    return among[chosen], among[rest]


def sites_need(arguments: PrepareArguments) -> int:
    """Images that all sites together need at least."""
    return int(arguments.sites or 0) * _minimum(arguments)


def _held_out(among: Indices, *, units: Indices, arguments: PrepareArguments) -> tuple[Indices, Indices]:
    """Take whole units for a public set away from the pool, until they are enough.

    Returns:
        What was taken, in the order in which it is drawn, and the rest.
    """
    wanted = public_count(arguments, pool=len(among))
    generator = stream(arguments.seed, "holdout")
    taken: list[Indices] = []
    whole = units_of(units[among].tolist())
    count_so_far = 0
    for index in generator.permutation(len(whole)):
        if count_so_far >= wanted:
            break
        taken.append(whole[index])
        count_so_far += len(whole[index])
    public = joined(taken)
    rest = np.setdiff1d(np.arange(len(among)), public)
    if len(public) < wanted or not len(rest):
        largest = max(len(unit) for unit in whole)
        together = f", of which {largest} stay together as one group or as nearly identical" if largest > 1 else ""
        raise ValueError(
            f"public holdout of {wanted} images: the pool has only {len(among)}{together}; lower --public-count"
        )
    return among[generator.permutation(public)], among[rest]


def _partition(
    among: Indices, *, listed: Sequence[Candidate], labels: Labels, units: Indices, arguments: PrepareArguments
) -> list[Indices]:
    sites, minimum = int(arguments.sites or 0), _minimum(arguments)
    generator = stream(arguments.seed, "partition")
    if arguments.split == "by_source":
        piles = by_origin([listed[index].origin for index in among])
        if len(piles) != sites:
            raise ValueError(
                f"split by source: sites={sites}, but the data has {len(piles)} origin(s) ({', '.join(piles)}); "
                "leave --sites out, or add data with --also"
            )
        for origin, pile in piles.items():
            if len(pile) < arguments.minimum:
                raise ValueError(f"origin {origin}: {len(pile)} images, less than --minimum {arguments.minimum}")
        return [among[pile] for pile in piles.values()]
    whole = units_of(units[among].tolist())
    mine, alpha = labels[among], arguments.alpha
    if arguments.split == "dirichlet":
        found = dirichlet(whole, labels=mine, sites=sites, alpha=alpha, minimum=minimum, generator=generator)
    elif arguments.split == "quantity":
        found = quantity_skew(whole, sites=sites, alpha=alpha, minimum=minimum, generator=generator)
    else:
        found = iid(whole, sites=sites, minimum=minimum, generator=generator)
    return [among[pile] for pile in found]


def _add_parts(
    found: Plan, site: str, pile: Indices, *, listed: Sequence[Candidate], units: Indices, arguments: PrepareArguments
) -> None:
    """Split a site: what its source fixed stays, the rest is split by class and unit; and say what each part takes."""
    fixed = [index for index in pile.tolist() if listed[index].record.part]
    free = np.array([index for index in pile.tolist() if not listed[index].record.part], dtype=np.int64)
    fractions = (1 - arguments.validation - arguments.test, arguments.validation, arguments.test)
    generator = stream(arguments.seed, "split", site)
    groups: list[Hashable] = units[free].tolist()
    of_fold = (1 - arguments.validation, arguments.validation, 0.0)  # the test part is the fold's, and no others'
    shares = fractions if arguments.fold is None else of_fold
    pieces = split_parts(found.labels[free], fractions=shares, groups=groups, generator=generator)
    for part, fraction, piece in zip(PARTS, fractions, pieces, strict=True):
        members = [*free[piece].tolist(), *(index for index in fixed if listed[index].record.part == part)]
        turns = drawing_turns(found.labels[members], generator=stream(arguments.seed, "trim", site, part))
        count = None if arguments.per_site is None else round(arguments.per_site * fraction / fractions[0])
        found._add((site, part), members, turns=turns.tolist(), count=count)


def _minimum(arguments: PrepareArguments) -> int:
    """Images a site needs, all parts together, so that its training part can have what was asked for."""
    training = 1 - arguments.validation - arguments.test
    quota = 0 if arguments.per_site is None else int(np.ceil(arguments.per_site / training - 1e-9))
    return max(arguments.minimum, quota)


def _grouped(units: Indices) -> Labels:
    return (np.bincount(units)[units] > 1).astype(np.int64)
