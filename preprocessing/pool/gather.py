"""What the raw inputs say they hold: their pictures, what they leave out, and how they were understood."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

from mdhfl.preprocessing.inputs import RawInput
from mdhfl.preprocessing.raw.label_spaces import LabelSpace, found_label_space, reduced
from mdhfl.preprocessing.raw.limits import MAX_CLASS_NAME, MAX_CLASSES, too_large
from mdhfl.preprocessing.raw.records import Record, Skip
from mdhfl.preprocessing.raw.understood import TellsUnderstood, Understood


@dataclass(frozen=True)
class Listed:
    """One raw input and what it says it holds.

    Attributes:
        understood: how its source read names, folders or tables, where it says so.
    """

    raw_input: RawInput
    records: list[Record]
    skips: list[Skip]
    understood: list[Understood]


def list_inputs(inputs: Sequence[RawInput]) -> list[Listed]:
    """List every input; reads no pixels.

    Raises:
        ValueError: an input without a single picture.
    """
    listed = []
    for raw_input in inputs:
        with closing(raw_input.open()) as source:
            records, skips = source.records(), source.skipped()
            understood = source.understood() if isinstance(source, TellsUnderstood) else []
        if not records:
            seen = f"; left out {len(skips)} file(s), first {skips[0].file}: {skips[0].reason}" if skips else ""
            raise ValueError(f"source {raw_input.source}: no pictures found in {raw_input.raw}{seen}")
        _check_codes(records, origin=raw_input.origin)
        listed.append(Listed(raw_input, records, skips, understood))
    return listed


def label_space_of(listed: Sequence[Listed], *, space: LabelSpace | None, classes: tuple[str, ...]) -> LabelSpace:
    """The label space given, or the one found (`auto`)."""
    if space is not None:
        return space
    found = found_label_space(record.code for one in listed for record in one.records)
    return reduced(found, classes=classes)


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
        raise ValueError(
            f"{origin}: {len(bad)} of {total} images cannot be read, more than the limit of {limit:.0%} ({examples}). "
            "Is the download complete? Use --bad-limit 1 to continue with the readable images"
        )
