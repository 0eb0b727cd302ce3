"""CSV files: the one place that writes them, so that a spreadsheet shows every text and computes none.

A text that a spreadsheet would take for a formula gets an apostrophe (OWASP, "CSV Injection"); numbers stay numbers.
"""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from numbers import Number
from pathlib import Path
from typing import Any

from mdhfl.showing.texts import one_line

# At a cell's beginning, and behind a semicolon, which separates cells where commas are decimal.
_START, _SIGN = r"(^|;)", r"([\s'\"]*[=+\-@\uff1d\uff0b\uff0d\uff20])"
FORMULA, GUARDED = re.compile(_START + _SIGN), re.compile(f"{_START}'{_SIGN}")


def to_csv(rows: Sequence[Mapping[str, Any]], *, columns: Sequence[str] = ()) -> str:
    """Return rows of the same keys as CSV with a header.

    Args:
        rows: column -> number, text, or None for an empty cell.
        columns: their order; that of the first row if empty.
    """
    target = io.StringIO(newline="")
    writer = csv.writer(target, lineterminator="\n")
    names = list(columns or (rows[0] if rows else ()))
    writer.writerow([cell(name) for name in names])
    writer.writerows([cell(row[name]) for name in names] for row in rows)
    return target.getvalue() if names else ""


def read_csv(path: Path) -> list[dict[str, str]]:
    """Return the rows of a file that `to_csv` wrote, each text as it was but for what cannot be seen."""
    with path.open(encoding="utf-8", newline="") as file:
        return [{_text_of(k): _text_of(v) for k, v in row.items()} for row in csv.DictReader(file)]


def cell(value: Any) -> Any:
    """Return a cell's value: a number or None as it is, a text in one line and with its formulas disarmed."""
    if value is None or isinstance(value, Number):
        return value
    return FORMULA.sub(r"\1'\2", one_line(value))


def _text_of(cell: str) -> str:
    return GUARDED.sub(r"\1\2", cell)
