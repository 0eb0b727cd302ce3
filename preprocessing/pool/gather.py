"""What the raw inputs say they hold: their pictures, what they leave out, and how they were understood."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace

from mdhfl.preprocessing.inputs import RawInput
from mdhfl.preprocessing.raw.label_spaces import AUTO, LabelSpace, found_label_space, reduced, spelling_notes
from mdhfl.preprocessing.raw.limits import MAX_CLASS_NAME, MAX_CLASSES, too_large
from mdhfl.preprocessing.raw.records import Record, Skip, Understood


@dataclass(frozen=True)
class Listed:
    """One raw input and what it says it holds.

    Attributes:
        understood: what its source took it to be.
    """

    raw_input: RawInput
    records: list[Record]
    skips: list[Skip]
    understood: Understood = field(default_factory=Understood)

    @property
    def lost(self) -> list[Skip]:
        """What looks like data and is not used."""
        return [skip for skip in self.skips if skip.lost]


def list_inputs(inputs: Sequence[RawInput]) -> list[Listed]:
    """List every input; reads no pixels, but of volumes, whose window the whole data set decides.

    Raises:
        ValueError: an input without a single picture.
    """
    listed = []
    for raw_input in inputs:
        with closing(raw_input.open()) as source:
            records, skips, understood = source.records(), source.skipped(), source.understood()
            settled = replace(raw_input, options=source.options)
        if not records:
            seen = f"; left out {len(skips)} file(s), first {skips[0].file}: {skips[0].reason}" if skips else ""
            raise ValueError(f"source {raw_input.source}: no pictures found in {raw_input.raw}{seen}")
        _check_codes(records, origin=raw_input.origin)
        listed.append(Listed(settled, records, skips, understood))
    return listed


def notes_of(listed: Sequence[Listed]) -> list[str]:
    """What the inputs were taken to be, in sentences."""
    return [f"{one.raw_input.origin}: {note}" for one in listed for note in one.understood.notes]


def check_tables(listed: Sequence[Listed], *, limit: float) -> None:
    """Check what was understood of tables of labels, before a picture is read.

    Args:
        listed: the inputs; the first is private.
        limit: share of a table's rows that may name no picture.

    Raises:
        ValueError: too many rows lost, or options for tables where none is read.
    """
    for one in listed:
        if one.understood.table is not None:
            one.understood.table.check(origin=one.raw_input.origin, limit=limit)
    options = listed[0].raw_input.options
    if (options.columns or options.fold is not None) and all(one.understood.table is None for one in listed):
        sources = ", ".join(one.raw_input.source for one in listed)
        raise ValueError(f"--columns and --fold are for tables of labels, but {sources} reads none; leave them out")


def label_space_of(listed: Sequence[Listed], *, space: LabelSpace | None, classes: tuple[str, ...]) -> LabelSpace:
    """The label space given, or the one found (`auto`)."""
    if space is not None:
        return space
    order = tuple(code for one in listed for code in one.understood.classes)
    found = found_label_space((record.code for one in listed for record in one.records), order=order)
    return reduced(found, classes=classes)


def spellings_of(listed: Sequence[Listed], *, space: LabelSpace) -> list[str]:
    """Which spellings were taken for one class, in sentences; nothing where a label space was given."""
    return spelling_notes(r.code for one in listed for r in one.records) if space.name == AUTO else []


def check_lost(listed: Sequence[Listed], *, limit: float) -> None:
    """Stop where too much of an input looks like data and is not used. Raises ValueError."""
    for one in listed:
        check_bad(one.lost, total=len(one.records) + len(one.lost), origin=one.raw_input.origin, limit=limit)


def _check_codes(records: Sequence[Record], *, origin: str) -> None:
    """Refuse what cannot be meant as classes: every table, sheet and message has room for each of them."""
    codes = {record.code for record in records}
    if len(codes) > MAX_CLASSES:
        raise ValueError(f"{origin}: {too_large(len(codes), limit=MAX_CLASSES, unit='classes')}")
    longest = max(codes, key=len)
    if len(longest) > MAX_CLASS_NAME:
        text = too_large(len(longest), limit=MAX_CLASS_NAME, unit="characters")
        raise ValueError(f"{origin}: class {longest[:40]!r}...: {text}")


def check_bad(bad: Sequence[Skip], *, total: int, origin: str, limit: float) -> None:
    """Stop where more than the limit's share of an input's images cannot be read.

    Args:
        bad: those that could not be.
        total: those that were tried.
        origin: name of the input.
        limit: share of the total.

    Raises:
        ValueError: with some of the reasons.
    """
    if bad and len(bad) > limit * total:
        examples = "; ".join(f"{skip.file}: {skip.reason}" for skip in bad[:5])
        what = "files cannot be read or used" if any(skip.lost for skip in bad) else "images cannot be read"
        raise ValueError(
            f"{origin}: {len(bad)} of {total} {what}, more than the limit of {limit:.0%} "
            f"({examples}). Is the download complete? Use --bad-limit 1 to continue with the readable images"
        )
