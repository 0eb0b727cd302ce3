"""Candidates: the pictures that may be drawn, listed and labelled but not yet read."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from mdhfl.preprocessing.pool.gather import Listed
from mdhfl.preprocessing.raw.label_spaces import LabelSpace, map_codes
from mdhfl.preprocessing.raw.records import Record


@dataclass(frozen=True)
class Candidate:
    """A picture that may be drawn.

    Attributes:
        source: name of its source.
        input: name of the raw input that it comes from.
        origin: the same, or the record's own finer origin.
        label: index of its class; None: unlabelled (public).
        group: what must stay together, unique among all raw inputs; None: the picture stands alone.
    """

    record: Record
    source: str
    input: str
    origin: str
    label: int | None
    group: str | None


@dataclass(frozen=True)
class Candidates:
    """All candidates of a run: private ones first, then those of a public source of its own.

    Attributes:
        private: how many of them are private.
        dropped: code -> private pictures whose class the label space drops on purpose.
    """

    listed: tuple[Candidate, ...]
    private: int
    dropped: dict[str, int]


def candidates_of(private: Sequence[Listed], *, public: Listed | None, space: LabelSpace) -> Candidates:
    """Label what was listed. Public pictures are unlabelled, so every code counts.

    Raises:
        ValueError: unknown codes, or no private picture in the label space.
    """
    labels = [map_codes((r.code for r in one.records), source=one.raw_input.source, space=space) for one in private]
    origins = {record.origin or one.raw_input.origin for one in private for record in one.records}
    found: list[Candidate] = []
    dropped: Counter[str] = Counter()
    for one, codes in zip(private, labels, strict=True):
        for record in one.records:
            if codes[record.code] is None:
                dropped[record.code] += 1
            else:
                found.append(_candidate(one, record, label=codes[record.code], several=len(origins) > 1))
    if not found:
        raise ValueError(f"no images left of {sum(dropped.values())}: label space {space.name!r} drops them all")
    shown = [] if public is None else [_candidate(public, r, label=None, several=True) for r in public.records]
    return Candidates((*found, *shown), private=len(found), dropped=dict(sorted(dropped.items())))


def _candidate(listed: Listed, record: Record, *, label: int | None, several: bool) -> Candidate:
    origin = record.origin or listed.raw_input.origin
    group = record.group if record.group is None or not several else f"{origin}/{record.group}"
    return Candidate(
        record, source=listed.raw_input.source, input=listed.raw_input.origin, origin=origin, label=label, group=group
    )
