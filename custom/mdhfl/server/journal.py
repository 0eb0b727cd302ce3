"""`results.jsonl`: one row a line, each sealed together with the line before it: none can change or go missing.

Rows are only ever added at the end. What an interruption may leave there is half a line, no more.
"""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mdhfl.digests import values_digest
from mdhfl.files import StateError
from mdhfl.store.sealed import SEAL, Damaged

DIGITS = 32  # of a line's seal
END = f'"{SEAL}":'.encode()  # stands once in a line; twice where the end of a line has become something else


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Read results.jsonl; a last line that is cut off is left out.

    Raises:
        Damaged: a line is not what was written; the message names it.
    """
    rows, fault = read_journal(path)
    if fault:
        raise Damaged(f"{fault}; continue the run with --resume: the round is asked for again")
    return rows


def read_journal(path: Path) -> tuple[list[dict[str, Any]], str]:
    """Read results.jsonl; a last line that is cut off or damaged is left out.

    Returns:
        The rows, and what is wrong with the last line if it is damaged though not cut off; else empty.

    Raises:
        Damaged: a line before the last one is not what was written; the message names it.
    """
    if not path.exists():
        return [], ""
    *lines, rest = path.read_bytes().split(b"\n")
    rows: list[dict[str, Any]] = []
    seal = ""
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
            found = row.pop(SEAL)
            whole = found == _seal(row, after=seal)
        except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
            whole = False
        if not whole:
            fault = f"{path}: line {number}: damaged, or not the line that followed the one before it"
            if number == len(lines) and not rest and line.count(END) < 2:
                return rows, fault
            raise Damaged(f"{fault}; restore the file from a backup, or start a new run with another --out")
        rows.append(row)
        seal = found
    return rows, ""


def append_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Add rows in one write.

    Raises:
        StateError: the disk does not take them.
        Damaged: the file's last line is not whole.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            file.write(lines_of(rows, after=_last_seal(path)))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        if isinstance(error, StateError):
            raise
        raise StateError(f"{path}: cannot be written ({error}); free disk space, then resume") from error


def lines_of(rows: Iterable[Mapping[str, Any]], *, after: str = "") -> bytes:
    """Return rows as lines.

    Args:
        rows: in order.
        after: the seal of the line before them; empty at the beginning of a file.
    """
    lines = []
    for row in rows:
        after = _seal(row, after=after)
        lines.append(json.dumps({**row, SEAL: after}, separators=(",", ":"), allow_nan=False) + "\n")
    return "".join(lines).encode()


def _seal(row: Mapping[str, Any], *, after: str) -> str:
    return values_digest([after, dict(row)])[:DIGITS]


def _last_seal(path: Path) -> str:
    data = path.read_bytes()
    if not data:
        return ""
    try:
        return str(json.loads(data[data.rfind(b"\n", 0, -1) + 1 :])[SEAL])
    except (ValueError, KeyError, TypeError) as error:
        raise Damaged(f"{path}: its last line is damaged; continue the run with --resume") from error
