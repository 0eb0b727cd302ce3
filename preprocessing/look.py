"""A look at raw data before anything is made of it: what was understood, and one contact sheet."""

import tempfile
from collections import Counter
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from mdhfl.preprocessing.arguments import PrepareArguments
from mdhfl.preprocessing.folder.pictures import contact_sheet
from mdhfl.preprocessing.inputs import fixed_label_space, private_inputs, public_input, with_defaults
from mdhfl.preprocessing.pool.candidates import Candidates, candidates_of
from mdhfl.preprocessing.pool.gather import label_space_of, list_inputs
from mdhfl.preprocessing.pool.read import Picture, Progress
from mdhfl.preprocessing.pool.reader import Reader, Reading
from mdhfl.preprocessing.pool.summary import summary
from mdhfl.preprocessing.raw.label_spaces import LabelSpace
from mdhfl.preprocessing.raw.records import Pixels, Skip
from mdhfl.preprocessing.raw.understood import Finding
from mdhfl.seeds import stream

A_CLASS = 12  # pictures of each class that are read, and of the public data


@dataclass(frozen=True)
class Look:
    """What was seen.

    Attributes:
        lines: what was understood.
        sheet: the contact sheet that was written.
    """

    lines: list[Finding]
    sheet: Path


def look(arguments: PrepareArguments, *, progress: Progress | None = None, workers: int | None = None) -> Look:
    """List the raw data, read a few pictures of each class, and write one contact sheet; `out` is not touched.

    Args:
        arguments: as for `prepare`.
        progress: called with a stage's name, steps done, steps in all.
        workers: processes that read images; None: one per core.

    Raises:
        ValueError: arguments that cannot be, or raw data that cannot be listed.
    """
    full = with_defaults(arguments)
    space = fixed_label_space(full)
    private = list_inputs(private_inputs(full, space=space))
    public = public_input(full, space=space)
    shown = list_inputs([public]) if public is not None else []
    found = label_space_of(private, space=space, classes=full.classes)
    candidates = candidates_of(private, public=shown[0] if shown else None, space=found)
    everything = [*private, *shown]
    with tempfile.TemporaryDirectory() as folder:
        how = Reading(Path(folder), likeness=False, bad_limit=1.0, workers=workers, progress=progress)
        reader = Reader(everything, candidates.listed, how=how)
        reader.read(_sample(candidates, classes=len(found.classes), seed=full.seed))
        sheet = _write_sheet(reader.pictures, candidates=candidates, space=found, out=full.out, name=str(full.name))
    bad = [Skip(candidates.listed[index].record.key, reason) for index, reason in reader.unreadable.items()]
    lines = summary(
        everything,
        candidates=candidates,
        space=found,
        traits=reader.traits,
        skips=[*(skip for one in everything for skip in one.skips), *bad],
        examples=True,
    )
    return Look(lines, sheet)


def _sample(candidates: Candidates, *, classes: int, seed: int) -> list[int]:
    """A few candidates of each class, and of the public data."""
    labels = np.array([-1 if one.label is None else one.label for one in candidates.listed], dtype=np.int64)
    generator = stream(seed, "look")
    chosen = [generator.permutation(np.flatnonzero(labels == label))[:A_CLASS] for label in range(-1, classes)]
    return sorted(np.concatenate(chosen).tolist())


def _write_sheet(
    pictures: dict[int, Picture], *, candidates: Candidates, space: LabelSpace, out: Path, name: str
) -> Path:
    mine = [pictures[index] for index in sorted(pictures)]
    totals = Counter(one.label for one in candidates.listed)
    classes = [f"{name} ({totals[label]:,})" for label, name in enumerate(space.classes)]
    if totals[None]:
        classes.append(f"public ({totals[None]:,})")
    path = out.resolve().with_name(f"{out.resolve().name}-look.png")
    contact_sheet(
        [_pixels(one) for one in mine],
        [len(space.classes) if one.candidate.label is None else one.candidate.label for one in mine],
        classes=classes,
        title=f"{name}: a few pictures of each class, as they would be given to the sites",
        columns=A_CLASS,
        path=path,
    )
    return path


def _pixels(picture: Picture) -> Pixels:
    with Image.open(BytesIO(picture.png())) as image:
        return np.array(image, dtype=np.uint8)
