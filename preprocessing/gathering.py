"""What raw data gives: listed, drawn and read."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mdhfl.preprocessing.arguments import PrepareArguments
from mdhfl.preprocessing.inputs import RawInput
from mdhfl.preprocessing.placing.draw import Drawn, draw
from mdhfl.preprocessing.placing.plan import Place
from mdhfl.preprocessing.pool.candidates import Candidates, candidates_of
from mdhfl.preprocessing.pool.gather import (
    Listed,
    check_lost,
    check_tables,
    label_space_of,
    list_inputs,
    notes_of,
    spellings_of,
)
from mdhfl.preprocessing.pool.given import Given
from mdhfl.preprocessing.pool.read import Picture, Progress
from mdhfl.preprocessing.pool.reader import Reader, Reading
from mdhfl.preprocessing.pool.twins import twins_among
from mdhfl.preprocessing.raw.label_spaces import LabelSpace
from mdhfl.preprocessing.raw.records import Skip


@dataclass(frozen=True)
class Gathered:
    """What was listed, and what of it was drawn and read.

    Attributes:
        inputs: the private ones, and the public one if it has data of its own.
        notes: what the raw data was taken to be.
    """

    inputs: list[Listed]
    candidates: Candidates
    space: LabelSpace
    reader: Reader
    drawn: Drawn
    notes: list[str]

    def skips(self) -> dict[str, list[Skip]]:
        """Input -> files and pictures left out, with reasons."""
        skips = {one.raw_input.origin: list(one.skips) for one in self.inputs}
        for index, reason in self.drawn.left_out.items():
            candidate = self.candidates.listed[index]
            skips[candidate.input].append(Skip(candidate.record.key, reason))
        return skips

    def pictures(self, place: Place) -> list[Picture]:
        """What a place takes; nothing where there is no such place."""
        return self.drawn.pictures.get(place, [])


def gather(
    inputs: Sequence[RawInput],
    *,
    public: RawInput | None,
    given: Callable[[Sequence[str]], Given] | None,
    space: LabelSpace | None,
    arguments: PrepareArguments,
    folder: Path,
    workers: int | None,
    progress: Progress | None,
    tell: Callable[[str], object],
) -> Gathered:
    """List the raw data, decide what each place takes, and read it.

    Args:
        inputs: the private ones.
        public: the public one, if it has data of its own.
        given: of the classes that are found: the pictures of a public set that was prepared before.
        space: the label space; None: the classes that are found.
        arguments: with defaults filled in.
        folder: where the pictures that are read lie until they are written.
        workers: processes that read images; None: one per core.
        progress: called with a stage's name, steps done, steps in all.
        tell: called with each sentence on what the raw data was taken to be, before a picture is read.

    Raises:
        ValueError: the raw data cannot be listed or read, or gives too little for what was asked for.
    """
    private = list_inputs(inputs)
    shown = list_inputs([public]) if public is not None else []
    everything = [*private, *shown]
    notes = notes_of(everything)
    for note in notes:
        tell(note)
    check_tables(everything, limit=arguments.bad_limit)
    check_lost(everything, limit=arguments.bad_limit)
    found = label_space_of(private, space=space, classes=arguments.classes)
    for note in (spellings := spellings_of(private, space=found)):
        tell(note)
    candidates = candidates_of(private, public=shown[0] if shown else None, space=found)
    how = Reading(
        folder,
        likeness=arguments.near > 0,
        bad_limit=arguments.bad_limit,
        workers=workers,
        progress=progress,
    )
    reader = Reader(everything, candidates.listed, how=how)
    drawn = draw(
        candidates,
        twins=lambda: twins_among(candidates.listed, inputs=everything),
        reader=reader,
        given=None if given is None else given(found.classes),
        arguments=arguments,
    )
    return Gathered(
        everything,
        candidates=candidates,
        space=found,
        reader=reader,
        drawn=drawn,
        notes=[*notes, *spellings],
    )
