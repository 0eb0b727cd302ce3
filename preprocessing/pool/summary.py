"""What was understood of the raw data, in lines for people: before anything is written, and in the card."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from mdhfl.preprocessing.pool.candidates import Candidate, Candidates
from mdhfl.preprocessing.pool.gather import Listed
from mdhfl.preprocessing.raw.label_spaces import LabelSpace
from mdhfl.preprocessing.raw.records import Skip
from mdhfl.preprocessing.raw.understood import Finding

MOST = 5  # values, reasons or codes that a line names


def summary(
    listed: Sequence[Listed],
    *,
    candidates: Candidates,
    space: LabelSpace,
    traits: Mapping[tuple[str, str], int],
    skips: Iterable[Skip],
    examples: bool,
) -> list[Finding]:
    """Say how raw data was read.

    Args:
        listed: the private inputs, and the public one if it has data of its own.
        traits: (kind of trait, value) -> pictures, of those that were read.
        skips: files and pictures left out so far.
        examples: name a file for each reason; not in what leaves the house, as a file's name may be a patient's.
    """
    private = candidates.listed[: candidates.private]
    lines = []
    for one in listed:
        lines.append(Finding("source", f"{one.raw_input.origin}: {len(one.records):,} pictures"))
        if one.understood.levels:
            lines.append(Finding("levels", one.understood.levels))
        lines += [Finding("read as", note) for note in one.understood.notes]
    lines += [Finding(f"class {name}", _class(name, label, private)) for label, name in enumerate(space.classes)]
    if candidates.dropped:
        lines.append(Finding("outside the label space", _named(Counter(candidates.dropped))))
    lines.append(Finding("groups", _groups(private)))
    lines.append(Finding("parts", _parts(private)))
    kinds = list(dict.fromkeys(kind for kind, _ in sorted(traits)))
    for kind in kinds:
        values = Counter({value: count for (other, value), count in traits.items() if other == kind})
        lines.append(Finding(kind, f"{_named(values)} (of the pictures read)"))
    lines.append(Finding("left out", _left_out(skips, examples=examples)))
    return lines


def _class(name: str, label: int, private: Sequence[Candidate]) -> str:
    codes = Counter(one.record.code for one in private if one.label == label)
    return f"{codes.total():,} pictures" + (f": {_named(codes)}" if set(codes) - {name} else "")


def _groups(private: Sequence[Candidate]) -> str:
    sizes = Counter(one.group for one in private if one.group is not None)
    if not sizes:
        return "none: every picture stands alone; patients are not known"
    alone = len(private) - sizes.total()
    spread = f"{len(sizes):,} groups of {min(sizes.values())} to {max(sizes.values())} pictures"
    return f"{spread}, kept together" + (f"; {alone:,} pictures stand alone" if alone else "")


def _parts(private: Sequence[Candidate]) -> str:
    fixed = Counter(one.record.part for one in private)
    free = fixed.pop(None, 0)
    if not fixed:
        return "not fixed by the raw data"
    return f"fixed by the raw data: {_named(fixed)}" + (f"; {free:,} not" if free else "")


def _left_out(skips: Iterable[Skip], *, examples: bool) -> str:
    reasons: Counter[str] = Counter()
    first: dict[str, str] = {}
    for skip in skips:
        kind = re.split(r"[:(]", skip.reason)[0].strip()
        reasons[kind] += 1
        first.setdefault(kind, skip.file)
    if not reasons:
        return "nothing"
    named = [f"{count:,} {kind}" + (f" ({first[kind]})" if examples else "") for kind, count in _ranked(reasons)[:MOST]]
    return "; ".join(named) + _more(reasons)


def _named(values: Counter[str | None] | Counter[str]) -> str:
    return ", ".join(f"{value} ({count:,})" for value, count in _ranked(values)[:MOST]) + _more(values)


def _ranked(values: Counter[str | None] | Counter[str]) -> list[tuple[str, int]]:
    """The commonest first; equal counts in the values' order, whatever order they were counted in."""
    return sorted(((str(value), count) for value, count in values.items()), key=lambda one: (-one[1], one[0]))


def _more(values: Counter[str | None] | Counter[str]) -> str:
    return f" and {len(values) - MOST} more" if len(values) > MOST else ""
