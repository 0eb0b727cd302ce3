"""From raw inputs to a pool of finished, labelled, distinct pictures, and a list of what was left out."""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

from mdhfl.preprocessing.inputs import RawInput
from mdhfl.preprocessing.pool.duplicates import remove_duplicates, without
from mdhfl.preprocessing.pool.read import Picture, Progress, read_pictures
from mdhfl.preprocessing.raw.label_spaces import LabelSpace, found_label_space, map_codes, reduced
from mdhfl.preprocessing.raw.limits import MAX_CLASS_NAME, MAX_CLASSES, too_large
from mdhfl.preprocessing.raw.records import Record, Skip
from mdhfl.preprocessing.raw.scaling import Scaling


@dataclass(frozen=True)
class Reading:
    """How pictures are read.

    Attributes:
        folder: where their PNGs go.
        bad_limit: share of unreadable images of an input above which it stops.
        workers: processes; None: one per core.
    """

    folder: Path
    bad_limit: float = 0.1
    workers: int | None = None
    progress: Progress | None = None


@dataclass(frozen=True)
class Listed:
    """One raw input and what it says it holds."""

    raw_input: RawInput
    records: list[Record]
    skips: list[Skip]


@dataclass(frozen=True)
class Pool:
    """Finished pictures.

    Attributes:
        skips: origin -> files left out, with reasons; duplicates among them.
        duplicates: how many of these were duplicates.
        dropped: code -> images whose class the label space drops on purpose.
        scalings: origin -> how its deep samples became 0..255.
    """

    pictures: list[Picture]
    skips: Mapping[str, list[Skip]]
    duplicates: int
    dropped: Mapping[str, int] = field(default_factory=dict)
    scalings: Mapping[str, Scaling] = field(default_factory=dict)


def list_inputs(inputs: Sequence[RawInput]) -> list[Listed]:
    """List every input; reads no pixels, but of volumes, whose window the whole data set decides.

    Raises:
        ValueError: an input without a single picture.
    """
    listed = []
    for raw_input in inputs:
        with closing(raw_input.open()) as source:
            records, skips = source.records(), source.skipped()
            settled = replace(raw_input, options=source.options)
        if not records:
            seen = f"; left out {len(skips)} file(s), first {skips[0].file}: {skips[0].reason}" if skips else ""
            raise ValueError(f"source {raw_input.source}: no pictures found in {raw_input.raw}{seen}")
        _check_codes(records, origin=raw_input.origin)
        listed.append(Listed(settled, records, skips))
    return listed


def label_space_of(listed: Sequence[Listed], *, space: LabelSpace | None, classes: tuple[str, ...]) -> LabelSpace:
    """The label space given, or the one found (`auto`)."""
    if space is not None:
        return space
    found = found_label_space(record.code for one in listed for record in one.records)
    return reduced(found, classes=classes)


def private_pool(
    listed: Sequence[Listed],
    *,
    space: LabelSpace,
    how: Reading,
) -> Pool:
    """Read the private data: labels mapped, unreadable files and duplicates left out.

    Raises:
        ValueError: unknown codes, too many unreadable files, or nothing left.
    """
    labels = [map_codes((r.code for r in one.records), source=one.raw_input.source, space=space) for one in listed]
    pictures: list[Picture] = []
    skips: dict[str, list[Skip]] = {}
    dropped: Counter[str] = Counter()
    for number, (one, codes) in enumerate(zip(listed, labels, strict=True)):
        kept = [record for record in one.records if codes[record.code] is not None]
        dropped.update(record.code for record in one.records if codes[record.code] is None)
        read, bad = read_pictures(
            one.raw_input,
            kept,
            labels=[codes[record.code] for record in kept],
            folder=how.folder / str(number),
            workers=how.workers,
            progress=how.progress,
            stage=f"reading {one.raw_input.origin}",
        )
        _check_bad(bad, total=len(kept), origin=one.raw_input.origin, limit=how.bad_limit)
        pictures.extend(read)
        skips[one.raw_input.origin] = [*one.skips, *bad]
    distinct, doubles = remove_duplicates(pictures)
    _sort_in(doubles, skips=skips, pictures=pictures, listed=listed)
    if not distinct:
        count = sum(len(one.records) for one in listed)
        raise ValueError(f"no images left of {count}: label space {space.name!r} drops them, or all are duplicates")
    return Pool(
        distinct,
        skips=skips,
        duplicates=len(doubles),
        dropped=dict(sorted(dropped.items())),
        scalings={one.raw_input.origin: one.raw_input.options.scaling for one in listed},
    )


def public_pool(
    listed: Listed,
    *,
    private: Sequence[Picture],
    how: Reading,
) -> Pool:
    """Read the public data: unlabelled, so every code counts; what a site holds too is left out.

    Raises:
        ValueError: too many unreadable files, or nothing left.
    """
    unlabelled: list[int | None] = [None] * len(listed.records)
    stage = f"reading {listed.raw_input.origin}"
    read, bad = read_pictures(
        listed.raw_input,
        listed.records,
        labels=unlabelled,
        folder=how.folder / "public",
        workers=how.workers,
        progress=how.progress,
        stage=stage,
    )
    _check_bad(bad, total=len(listed.records), origin=listed.raw_input.origin, limit=how.bad_limit)
    distinct, doubles = remove_duplicates(read)
    distinct, shared = without(distinct, seen=private)
    if not distinct:
        raise ValueError(f"public set: no images left of {len(listed.records)}: does --public-raw repeat --raw?")
    origin, scaling = listed.raw_input.origin, listed.raw_input.options.scaling
    skips = {origin: [*listed.skips, *bad, *doubles, *shared]}
    return Pool(distinct, skips=skips, duplicates=len(doubles) + len(shared), scalings={origin: scaling})


def _check_codes(records: Sequence[Record], *, origin: str) -> None:
    """Refuse what cannot be meant as classes: every table, sheet and message has room for each of them."""
    codes = {record.code for record in records}
    if len(codes) > MAX_CLASSES:
        raise ValueError(f"{origin}: {too_large(len(codes), limit=MAX_CLASSES, unit='classes')}")
    longest = max(codes, key=len)
    if len(longest) > MAX_CLASS_NAME:
        text = too_large(len(longest), limit=MAX_CLASS_NAME, unit="characters")
        raise ValueError(f"{origin}: class {longest[:40]!r}...: {text}")


def _check_bad(bad: Sequence[Skip], *, total: int, origin: str, limit: float) -> None:
    if bad and len(bad) > limit * total:
        examples = "; ".join(f"{skip.file}: {skip.reason}" for skip in bad[:5])
        raise ValueError(
            f"{origin}: {len(bad)} of {total} images cannot be read, more than the limit of {limit:.0%} ({examples}). "
            "Is the download complete? Use --bad-limit 1 to continue with the readable images"
        )


def _sort_in(
    doubles: Sequence[Skip], *, skips: dict[str, list[Skip]], pictures: Sequence[Picture], listed: Sequence[Listed]
) -> None:
    """Put each duplicate to the raw input it came from."""
    if len(listed) == 1:
        skips[listed[0].raw_input.origin].extend(doubles)
        return
    homes: dict[str, str] = {}
    for one in listed:
        homes.update({record.key: one.raw_input.origin for record in one.records})
    for skip in doubles:
        skips[homes[skip.file]].append(skip)
