"""What the cells of a table mean: missing, one number in two spellings, several classes, a part."""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from decimal import Decimal

# What pandas reads as missing, and -1, the usual mark of an unknown class.
MISSING = frozenset({
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA",
    "NULL", "NaN", "None", "n/a", "nan", "null", "-1", "-1.0",
})  # fmt: skip
NUMBER = re.compile(r"[+-]?[0-9]{1,40}(\.[0-9]{0,40})?([eE][+-][0-9]{1,2})?")
WHOLE = re.compile(r"[+-]?[0-9]+")
SEVERAL = re.compile(r"[|;]|^\[.*,.*\]$")
YES, NO = frozenset({"1", "1.0", "true", "True", "TRUE"}), frozenset({"0", "0.0", "false", "False", "FALSE", ""})

PART_NAMES = {
    "train": "training",
    "training": "training",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}


def cell_text(cell: str) -> str:
    """A cell without padding, any space within once, in Unicode's composed form; "" where it is `MISSING`."""
    text = unicodedata.normalize("NFC", " ".join(cell.split()))
    return "" if text in MISSING else text


def one_name_each(texts: Iterable[str]) -> Mapping[str, str]:
    """The name of each text of a column: where all are numbers, equal numbers have one name, else each its own.

    "2.0" is called "2"; of "7" and "007" the shorter counts. In a column with a single word "2" and "2.0" stay two:
    they may be names.

    Args:
        texts: of one column, without the missing ones.
    """
    distinct = set(texts)
    if not all(NUMBER.fullmatch(text) for text in distinct):
        return {text: text for text in distinct}
    names: dict[Decimal, str] = {}
    for text in sorted(distinct, key=lambda text: (not WHOLE.fullmatch(text), len(text), text)):
        number = Decimal(text)
        names.setdefault(number, text if WHOLE.fullmatch(text) else _plain(number))
    return {text: names[Decimal(text)] for text in distinct}


def one_name_each_group(texts: Iterable[str]) -> Mapping[str, str]:
    """As `one_name_each`, and without regard to case: better one patient too few than one on two sides."""
    spelt = one_name_each(texts)
    names: dict[str, str] = {}
    for text in sorted(set(spelt.values())):
        names.setdefault(text.casefold(), text)
    return {text: names[name.casefold()] for text, name in spelt.items()}


def without_fraction(texts: Iterable[str]) -> Mapping[str, str]:
    """The names of pictures: where all are numbers, "12.0" is "12"; "07" and "7" stay two."""
    distinct = set(texts)
    if not all(NUMBER.fullmatch(text) for text in distinct):
        return {text: text for text in distinct}
    return {text: text if WHOLE.fullmatch(text) else _plain(Decimal(text)) for text in distinct}


def names_several(text: str, *, alone: frozenset[str] | set[str]) -> bool:
    """Whether a class's cell names several: "a|b", "a;b", "['a', 'b']", or "a, b" where "a" and "b" occur alone."""
    pieces = [piece.strip() for piece in text.split(",")]
    return bool(SEVERAL.search(text)) or (len(pieces) > 1 and all(piece in alone for piece in pieces))


def _plain(number: Decimal) -> str:
    text = format(number, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
