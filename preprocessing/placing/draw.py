"""Draw what each place takes, read it, and mend the plan by what the pixels show, until nothing lies on two sides.

Only what is drawn is read. A picture that turns out unreadable, or the same as another, is replaced by the next of its
place; pictures that turn out nearly identical are joined, with their groups, and all go to one place.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from mdhfl.preprocessing.arguments import HOLDOUT, PrepareArguments
from mdhfl.preprocessing.partition.groups import units_of
from mdhfl.preprocessing.partition.kinship import Kinship, Pairs
from mdhfl.preprocessing.placing.plan import PUBLIC, SERVER, Place, plan, public_count, sites_need
from mdhfl.preprocessing.pool.candidates import Candidate, Candidates
from mdhfl.preprocessing.pool.duplicates import duplicate_reasons
from mdhfl.preprocessing.pool.given import Given
from mdhfl.preprocessing.pool.likeness import near_pairs
from mdhfl.preprocessing.pool.read import Picture
from mdhfl.preprocessing.pool.reader import Reader
from mdhfl.preprocessing.raw.records import PARTS
from mdhfl.seeds import stream

MOST = 0.5  # of the private pictures: if more are needed, all are read before the plan is made


@dataclass
class Drawn:
    """What every place takes, read.

    Attributes:
        pictures: of each place, in the order of its list.
        left_out: candidate -> why it cannot be taken, though it was read or its twin was.
        duplicates: those of them that are the same as another picture.
        alike: pictures read that have a nearly identical one.
        largest: most pictures that hang together by it.
        moved: pictures read that went to another place because of it.
        parted: pictures left out because they may not move to the place of what is nearly identical, or of their group.
    """

    pictures: dict[Place, list[Picture]] = field(default_factory=dict)
    left_out: dict[int, str] = field(default_factory=dict)
    duplicates: int = 0
    alike: int = 0
    largest: int = 0
    moved: int = 0
    parted: int = 0


def draw(
    candidates: Candidates,
    *,
    twins: Callable[[], dict[int, str]],
    reader: Reader,
    given: Given | None,
    arguments: PrepareArguments,
) -> Drawn:
    """Decide what each place takes; the same candidates, pictures and arguments give the same.

    Args:
        twins: finds candidate -> a digest of its file, where others have the same; asked where most are not read.
        reader: of these candidates.
        given: a public set that was prepared before: what is in it goes to no site.
        arguments: with defaults filled in.

    Raises:
        ValueError: there is too little for what was asked for, or too much cannot be read.
    """
    return _Drawing(candidates, reader=reader, given=given, arguments=arguments).finished(twins)


class _Drawing:
    """Knowledge that only grows: what was read, what cannot be taken, what belongs together."""

    def __init__(
        self, candidates: Candidates, *, reader: Reader, given: Given | None, arguments: PrepareArguments
    ) -> None:
        self.candidates, self.listed = candidates, candidates.listed
        self.reader, self.given_away, self.arguments = reader, given, arguments
        self.kinship = Kinship([one.group for one in self.listed])
        self.lots = stream(arguments.seed, "near").permutation(len(self.listed))
        origins = sorted({one.origin for one in self.listed[: candidates.private]})
        self.own_site = {origin: f"site-{number}" for number, origin in enumerate(origins, start=1)}
        self.found = Drawn()
        self.given: set[int] = set()  # units that were given to a place that lacked images
        self.moved: set[int] = set()

    def finished(self, twins: Callable[[], dict[int, str]]) -> Drawn:
        if self._needs_most():
            self._learn(range(self.candidates.private))
        else:
            self._leave_out_duplicates(twins())
        left_out = frozenset(self.found.left_out)
        self.plan = plan(self.candidates, left_out=left_out, units=self.kinship.unit, arguments=self.arguments)
        self._bring_together()
        while True:
            taken = self.plan.drawn()
            news = self._learn(index for mine in taken.values() for index in mine)
            self.plan.leave_out(self.found.left_out)
            if not (self._bring_together() | self._fill(PUBLIC) | self._fill(SERVER) | news):
                break
        self.found.pictures = {place: [self.reader.pictures[index] for index in mine] for place, mine in taken.items()}
        self.found.moved = len(self.moved & self.reader.pictures.keys())
        return self.found

    def _needs_most(self) -> bool:
        arguments, private = self.arguments, self.candidates.private
        if arguments.per_site is None:
            return True
        shown = public_count(arguments, pool=private) if arguments.public == HOLDOUT else 0
        return sites_need(arguments) + arguments.server_validation + shown > MOST * private

    def _learn(self, wanted: Iterable[int]) -> bool:
        """Read what was not read before, leave out what cannot be taken, join what is nearly identical."""
        fresh = self.reader.read(wanted)
        if not fresh:
            return False
        self.found.left_out.update(
            {index: self.reader.unreadable[index] for index in fresh if index in self.reader.unreadable}
        )
        self._leave_out_given(fresh)
        self._leave_out_duplicates({index: one.digest for index, one in self.reader.pictures.items()})
        if self.arguments.near:
            self._join_alike()
        return True

    def _leave_out_given(self, fresh: list[int]) -> None:
        """Leave out what lies in the public set that was given, or nearly."""
        given, pictures = self.given_away, self.reader.pictures
        mine = [index for index in fresh if index in pictures]
        if given is None or not mine:
            return
        same = [index for index in mine if pictures[index].digest in set(given.digests)]
        self.found.left_out.update(dict.fromkeys(same, "identical to a picture of the public set"))
        self.found.duplicates += len(same)
        if self.arguments.near:
            near = _near_given(given, [pictures[index].likeness for index in mine], within=self.arguments.near)
            alike = {index for index in mine if pictures[index].likeness in near} - set(same)
            self.found.left_out.update(dict.fromkeys(sorted(alike), "nearly identical to a picture of the public set"))
            self.found.parted += len(alike)

    def _leave_out_duplicates(self, digests: dict[int, str]) -> None:
        reasons = duplicate_reasons(self.listed, digests)
        new = {index: reason for index, reason in reasons.items() if index not in self.found.left_out}
        self.found.duplicates += len(new)
        self.found.left_out.update(new)

    def _join_alike(self) -> None:
        pictures = self.reader.pictures
        mine = np.array([index for index in sorted(pictures) if index not in self.found.left_out], dtype=np.int64)
        likenesses = [pictures[index].likeness for index in mine.tolist()]
        pairs: Pairs = mine[near_pairs(likenesses, within=self.arguments.near)]
        self.kinship.join(pairs)
        alike = np.unique(pairs)
        self.found.alike = len(alike)
        self.found.largest = int(np.bincount(self.kinship.unit[alike]).max(initial=0))

    def _bring_together(self) -> bool:
        """Give all images of a unit one place; one that may not go there is left out."""
        home, changed = self.plan.home, False
        for members in self._split_units():
            leader = min(members, key=self._precedence)
            for index in members:
                if home[index] == home[leader]:
                    continue
                changed = True
                if self._may_lie(index, home[leader]):
                    self.plan.move(index, home[leader])
                    self.moved.add(index)
                else:
                    self.found.parted += 1
                    self.found.left_out[index] = _parted(self.listed[index], leader=self.listed[leader])
        self.plan.leave_out(self.found.left_out)
        return changed

    def _split_units(self) -> list[list[int]]:
        home = self.plan.home
        there = np.array(sorted(home), dtype=np.int64)
        units = [there[members].tolist() for members in units_of(self.kinship.unit[there].tolist())]
        return [members for members in units if len({home[index] for index in members}) > 1]

    def _precedence(self, index: int) -> tuple[bool, int, int]:
        """Whose place a unit takes: private before public, then a part that the source fixed, then by lot."""
        part = self.listed[index].record.part
        fixed = -PARTS.index(part) if part else 1
        return index >= self.candidates.private, fixed, int(self.lots[index])

    def _may_lie(self, index: int, place: Place) -> bool:
        if index >= self.candidates.private or place in (PUBLIC, SERVER):
            return place in (PUBLIC, SERVER) and (index < self.candidates.private or place == PUBLIC)
        site, part = place
        own_site = self.arguments.split != "by_source" or site == self.own_site[self.listed[index].origin]
        return own_site and self.listed[index].record.part in (None, part)

    def _fill(self, place: Place) -> bool:
        """Give a place that lacks images whole units that no site takes, if it takes of the sites' images at all."""
        count = self.plan.counts.get(place)
        if count is None or (place == PUBLIC and self.arguments.public != HOLDOUT):
            return False
        taken = self.plan.drawn()
        lacking = count - len(taken[place])
        barred = self.given | {int(self.kinship.unit[index]) for mine in taken.values() for index in mine}
        changed = False
        for index in sorted(self.plan.home, key=lambda index: int(self.lots[index])) if lacking > 0 else []:
            unit = int(self.kinship.unit[index])
            if lacking <= 0:
                break
            if unit in barred or self.plan.home[index] in (PUBLIC, SERVER):
                continue
            barred.add(unit)
            self.given.add(unit)
            for member in np.flatnonzero(self.kinship.unit == unit).tolist():
                if member in self.plan.home:
                    self.plan.move(member, place)
                    lacking -= 1
            changed = True
        return changed


def _near_given(given: Given, likenesses: Sequence[bytes], *, within: int) -> set[bytes]:
    """Return which likenesses a given picture has, or nearly; of equal ones `near_pairs` pairs the first alone."""
    known = [*given.likenesses, *likenesses]
    pairs, count = near_pairs(known, within=within), len(given.likenesses)
    across = pairs[(pairs[:, 0] < count) & (pairs[:, 1] >= count)]
    return {known[place] for place in across[:, 1].tolist()}


def _parted(candidate: Candidate, *, leader: Candidate) -> str:
    if candidate.group is not None and candidate.group == leader.group:
        return f"group on two sides: {candidate.record.group} is on another"
    return f"nearly identical: {leader.record.key} is on another side"
