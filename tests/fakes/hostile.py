"""Texts that somebody else chose, at their worst, and what may never come of them."""

import re
import unicodedata
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

FRAGMENTS = (
    "\x1b[2J", "\x1b]0;title\x07", "\x1b]8;;http://evil.example\x1b\\click\x1b]8;;\x1b\\", "\x9b31m", "\r", "\n", "\t",
    "\x00", "\x7f", "\u202e", "\u2066", "\u200b", "\ufeff", "\u2028", "\ufe0f", "\U000e0041", "\udcff", "\ud800",
    "[/x]", "[bold]", "[link=http://evil.example]", "[red]", ":smile:",
    "=cmd|'/C calc'!A0", "+1+1", "-2+3", "@SUM(A1)", " =1", "\t=1", "x;=1", "'=1", "\uff1d1",
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", '"><svg onload=alert(1)>', "javascript:alert(1)",
    "{{ 7 * 7 }}", "{% raw %}", "&lt;", "|", "`", "**", "[a](javascript:alert(1))", "![a](http://evil.example/a.png)",
    "$x^2$", "$\\frac", "%", "_", "# head", "../../up", "C:\\Users\\me\\x", "2026-01-01 00:00:00 - INFO - forged",
)  # fmt: skip
WORST = "[/x]" + "".join(FRAGMENTS)


def texts(*, longest: int = 40) -> st.SearchStrategy[str]:
    """Texts with any character, lone surrogates too, and with what terminals, pages and spreadsheets obey."""
    anything = st.text(st.characters(exclude_categories=()), max_size=longest)
    pieces = st.lists(st.one_of(st.sampled_from(FRAGMENTS), anything), min_size=1, max_size=3)
    return pieces.map(lambda found: "".join(found)[: 3 * longest])


def hidden_in(text: str, *, allowed: str = "\n") -> set[str]:
    """Return the characters in a text that somebody could not see, by name."""
    hidden = ("Cc", "Cf", "Cs", "Zl", "Zp")
    return {f"U+{ord(c):04X}" for c in text if c not in allowed and unicodedata.category(c) in hidden}


def formulas_in(rows: list[dict[str, Any]] | list[list[str]]) -> list[str]:
    """Return the cells that a spreadsheet would compute; numbers are none."""
    cells = [str(value) for row in rows for value in (row.values() if isinstance(row, dict) else row)]
    return [cell for cell in cells if cell.strip()[:1] in tuple("=+-@") and not _is_number(cell)]


def files_naming(folder: Path, *places: Path) -> list[str]:
    """Return the files below a folder that hold one of these paths; pictures in pages hold any four letters."""
    found = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    wanted = [str(place).encode() for place in places]
    texts = {path.name: re.sub(rb"base64,[\w+/=]+", b"", path.read_bytes()) for path in found}
    return [name for name, text in texts.items() if any(each in text for each in wanted)]


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
