"""A run's pictures, read when they are drawn: what was read once is never read again."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mdhfl.preprocessing.inputs import RawInput
from mdhfl.preprocessing.pool.candidates import Candidate
from mdhfl.preprocessing.pool.gather import Listed, check_bad
from mdhfl.preprocessing.pool.read import Picture, Progress, read_pictures
from mdhfl.preprocessing.raw.records import Skip

FEW = 50  # pictures: of fewer, a share says little


@dataclass(frozen=True)
class Reading:
    """How pictures are read.

    Attributes:
        folder: where their PNGs go.
        likeness: make perceptual hashes.
        bad_limit: share of unreadable images of an input above which it stops.
        workers: processes; None: one per core.
    """

    folder: Path
    likeness: bool = True
    bad_limit: float = 0.1
    workers: int | None = None
    progress: Progress | None = None


class Reader:
    """Reads candidates.

    Attributes:
        pictures: by the candidate's place, those that were read.
        unreadable: by the candidate's place, why it cannot be read.
        traits: (kind of trait, value) -> pictures read.
    """

    def __init__(self, inputs: Sequence[Listed], candidates: Sequence[Candidate], *, how: Reading) -> None:
        self.inputs, self.candidates, self.how = inputs, candidates, how
        self.pictures: dict[int, Picture] = {}
        self.unreadable: dict[int, str] = {}
        self.traits: Counter[tuple[str, str]] = Counter()
        self.turns = 0
        self.done: Counter[str] = Counter()

    def read(self, wanted: Iterable[int]) -> list[int]:
        """Read those that were not read before.

        Returns:
            Which these are, ascending.

        Raises:
            ValueError: too many of an input cannot be read.
        """
        fresh = sorted(set(wanted) - self.pictures.keys() - self.unreadable.keys())
        of_input: dict[str, list[int]] = {}
        for index in fresh:
            of_input.setdefault(self.candidates[index].input, []).append(index)
        for number, one in enumerate(self.inputs):
            origin = one.raw_input.origin
            if origin in of_input:
                self._read(one.raw_input, of_input[origin], folder=self.how.folder / f"{number}-{self.turns}")
                self._check(one)
        self.turns += 1
        return fresh

    def _read(self, raw_input: RawInput, indices: list[int], *, folder: Path) -> None:
        read = read_pictures(
            raw_input,
            [self.candidates[index] for index in indices],
            folder=folder,
            likeness=self.how.likeness,
            workers=self.how.workers,
            done=self._counter(raw_input.origin, more=len(indices)),
        )
        self.traits.update(read.traits)
        for index, one in zip(indices, read.outcomes, strict=True):
            if isinstance(one, str):
                self.unreadable[index] = one
            else:
                self.pictures[index] = one

    def _check(self, listed: Listed) -> None:
        """Stop where too much cannot be read; what was lost before counts with it when all is read."""
        origin = listed.raw_input.origin
        bad = [
            Skip(self.candidates[index].record.key, reason)
            for index, reason in self.unreadable.items()
            if self.candidates[index].input == origin
        ]
        there = sum(candidate.input == origin for candidate in self.candidates)
        lost = listed.lost if self.done[origin] >= there else []
        total = max(self.done[origin], min(there, FEW)) + len(lost)
        check_bad([*bad, *lost], total=total, origin=origin, limit=self.how.bad_limit)

    def _counter(self, origin: str, *, more: int) -> Callable[[int], None]:
        total = self.done[origin] + more

        def count(number: int) -> None:
            self.done[origin] += number
            if self.how.progress is not None:
                self.how.progress(f"reading {origin}", self.done[origin], total)

        return count
