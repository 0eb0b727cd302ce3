"""A table's rows joined with the files: records, what was left out and why, and what was understood."""

import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from mdhfl.preprocessing.raw.records import Record, Skip, Understood
from mdhfl.preprocessing.raw.table_names import FileNames, agree
from mdhfl.preprocessing.raw.table_reading import (
    CONTRADICTION,
    DAMAGED,
    LOST,
    NO_CLASS,
    NO_FILE,
    NO_NAME,
    SEVERAL,
    TWICE,
    TableReading,
)
from mdhfl.preprocessing.raw.table_rows import Row, Rows

NAMED = 4  # files or rows in a reason
LONGEST = 200  # characters of a name in a reason


class FoundRow(NamedTuple):
    """A row with its file.

    Attributes:
        place: what stands behind "#" (a slice), without padding; None: there is no "#".
    """

    path: str
    place: str | None
    row: Row

    @property
    def name(self) -> str:
        """The picture's name in the table, without a slice."""
        return self.row.image if self.place is None else self.row.image.partition("#")[0].strip()


@dataclass
class LabelTable:
    """A table joined with the files of its raw data.

    Attributes:
        found: rows with a class and a file.
        skips: the other rows, with reasons.
        counts: reason -> rows skipped.
    """

    rows: Rows
    names: FileNames
    found: list[FoundRow] = field(default_factory=list)
    skips: list[Skip] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    loosely: int = 0

    def leave_out(self, row: Row, *, reason: str, said: str, file: str = "") -> None:
        """Count a row as skipped, and say why."""
        name = file or row.image[:LONGEST] or f"row {row.number}"
        skip = Skip(name, f"{said} ({self.rows.where}, row {row.number})", lost=reason in LOST)
        self.skips.append(skip)
        self.counts[reason] += 1

    def listing(
        self, keys: Callable[[FoundRow], Iterable[str]] = lambda found: [found.path]
    ) -> tuple[list[Record], list[Skip], Understood]:
        """Records, one for each picture, what was left out, and what was understood.

        A picture in several rows that say the same is taken once; one that they contradict each other about (in class,
        group or part; an empty cell contradicts nothing) is left out.

        Args:
            keys: the pictures of a row: its file, or its slices.
        """
        told: dict[str, list[FoundRow]] = {}
        for found in self.found:
            for key in keys(found):
                told.setdefault(key, []).append(found)
        records, read, clashing = [], set(), []
        for key, rows in told.items():
            if _contradict(rows):
                clashing.append(key)
            else:
                records.append(_record(key, rows))
                read.add(rows[0].row.number)
        self._leave_out_clashing(clashing, told)
        contradicted = {found.row.number for key in clashing for found in told[key]}
        for found in self.found:
            if found.row.number not in read:
                if found.row.number in contradicted:
                    self.counts[CONTRADICTION] += 1
                else:
                    self.leave_out(found.row, reason=TWICE, said="listed twice", file=found.path)
        reading = self._reading(records, pictures=len(told), contradicting=len(clashing))
        return records, self.skips, Understood(notes=tuple(reading.sentences()), table=reading)

    def _leave_out_clashing(self, keys: list[str], told: dict[str, list[FoundRow]]) -> None:
        for key in keys:
            said = ", ".join(f"row {found.row.number} {_said(found.row)}" for found in told[key][:NAMED])
            more = f" and {len(told[key]) - NAMED} more" if len(told[key]) > NAMED else ""
            reason = f"rows of {self.rows.where} contradict each other, which is right is unknown: {said}{more}"
            self.skips.append(Skip(key, reason))

    def _reading(self, records: list[Record], *, pictures: int, contradicting: int) -> TableReading:
        listed, lost = {found.path for found in self.found}, [skip for skip in self.skips if skip.lost]
        order = (*LOST, NO_CLASS, TWICE, CONTRADICTION)
        return TableReading(
            where=self.rows.where,
            form=self.rows.form,
            columns=tuple(self.rows.columns.used().items()),
            unused=self.rows.columns.unused(),
            rows=len(self.rows.rows),
            classes=tuple(sorted(Counter(record.code for record in records).items())),
            skipped=tuple((reason, self.counts[reason]) for reason in order if self.counts[reason]),
            pictures=pictures,
            contradicting=contradicting,
            loosely=self.loosely,
            unlisted=sum(name not in listed for name in self.names.pictures),
            examples=tuple(f"{skip.file}: {skip.reason}" for skip in lost[:NAMED]),
            notes=self.rows.notes,
        )


def join(rows: Rows, names: FileNames, *, slices: bool = False) -> LabelTable:
    """Find the file of each row.

    Args:
        slices: a picture's name may end in "#" and a slice.
    """
    table = LabelTable(rows, names)
    for row in rows.rows:
        _find_file(row, table, slices=slices)
    _leave_out_doubtful(table)
    return table


def _find_file(row: Row, table: LabelTable, *, slices: bool) -> None:
    """Put a row to the table's found ones, or leave it out."""
    if row.damaged:
        table.leave_out(row, reason=DAMAGED, said="more cells than the header: quote cells with a separator")
        return
    if not row.code:
        table.leave_out(row, reason=NO_CLASS, said="has no class")
        return
    name, mark, place = row.image.partition("#") if slices else (row.image, "", "")
    if not name.strip():
        table.leave_out(row, reason=NO_NAME, said="the row names no picture")
        return
    fits = table.names.find(name.strip())
    if len(fits) == 1:
        table.found.append(FoundRow(fits[0], place.strip() if mark else None, row))
    elif fits:
        said = f"several files fit: {', '.join(fits[:NAMED])}"
        table.leave_out(row, reason=SEVERAL, said=said)
    else:
        near = table.names.near(name)
        said = "there is no such file" + (f", but {', '.join(near[:NAMED])}" if near else "")
        table.leave_out(row, reason=NO_FILE, said=said)


def _leave_out_doubtful(table: LabelTable) -> None:
    """Leave out rows whose names, folders and all, cannot be of the one file that was found for them."""
    by_file: dict[str, set[str]] = {}
    for found in table.found:
        by_file.setdefault(found.path, set()).add(found.name)
    doubtful = {
        path
        for path, names in by_file.items()
        if len(names) > 1 and not agree(table.names.parts(name) for name in names)
    }
    kept = []
    for found in table.found:
        exact = table.names.is_exact(found.name)
        if found.path in doubtful and not exact:
            said = f"rows with other folders name {found.path} too"
            table.leave_out(found.row, reason=SEVERAL, said=said)
        else:
            table.loosely += not exact
            kept.append(found)
    table.found = kept


def _contradict(rows: list[FoundRow]) -> bool:
    if len(rows) == 1:
        return False
    codes = {_folded(found.row.code) for found in rows}
    groups = {found.row.group for found in rows} - {""}
    return len(codes) > 1 or len(groups) > 1 or len({found.row.part for found in rows} - {None}) > 1


def _record(key: str, rows: list[FoundRow]) -> Record:
    groups = [found.row.group for found in rows if found.row.group]
    parts = [found.row.part for found in rows if found.row.part]
    return Record(
        key=key,
        code=rows[0].row.code,
        group=groups[0] if groups else None,
        part=parts[0] if parts else None,
    )


def _said(row: Row) -> str:
    return " ".join(text for text in (row.code, row.group, row.part) if text)


def _folded(text: str) -> str:
    return unicodedata.normalize("NFC", text.casefold())
