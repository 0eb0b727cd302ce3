"""A table of labels as rows: which picture, which class, which group, which part. Its files are not looked at."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from mdhfl.preprocessing.raw.limits import MAX_TABLE, Limits, too_large
from mdhfl.preprocessing.raw.sizes import check_number
from mdhfl.preprocessing.raw.table_columns import ENCODING, Columns, find_columns, is_fold, known_columns, parse_columns
from mdhfl.preprocessing.raw.table_sheet import SheetTable, is_workbook, sheets_of
from mdhfl.preprocessing.raw.table_text import TextTable, text_table
from mdhfl.preprocessing.raw.table_values import (
    NO,
    PART_NAMES,
    YES,
    cell_text,
    names_several,
    one_name_each,
    one_name_each_group,
    without_fraction,
)

Grid = TextTable | SheetTable
MOST_FOLDS = 20  # named in a message


class Row(NamedTuple):
    """One row; "" is missing.

    Attributes:
        number: its line in the file, or its row in the sheet.
        image: the picture's name as it stands in the table.
        part: "training", "validation", "test", or None where the table leaves it open.
        damaged: it has more cells than the header: which is which is unknown.
    """

    number: int
    image: str
    code: str
    group: str
    part: str | None
    damaged: bool = False


@dataclass(frozen=True)
class Rows:
    """A table that was read.

    Attributes:
        where: what messages call it.
        form: how it is written, in words.
        notes: what a reader should know, one sentence each.
    """

    where: str
    form: str
    columns: Columns
    rows: list[Row]
    notes: tuple[str, ...] = ()


def read_rows(data: bytes, *, where: str, limits: Limits, columns: str = "", fold: str | None = None) -> Rows:
    """Read a table of labels: CSV or its like in any usual form, or a sheet of Excel.

    Args:
        data: the file's bytes.
        where: what errors call it.
        columns: as of `parse_columns`; what it does not name is found by its usual name.
        fold: this fold's pictures are the test part, and no others.

    Raises:
        ValueError: too large, unreadable, or a column or cell that may mean several things; says the way out.
    """
    if len(data) > MAX_TABLE:
        raise ValueError(f"table {where}: {too_large(len(data), limit=MAX_TABLE, unit='bytes')}")
    asked = parse_columns(columns)
    grid, found = _grid_of(data, where=where, limits=limits, asked=asked, fold=fold or "")
    if not found.classes:
        found = replace(found, classes=_one_hot_columns(grid, found))
    rows = _in_one_spelling(_raw_rows(grid, found, limits=limits), where=where)
    rows, notes = _with_parts(rows, columns=found, fold=fold, where=where)
    alone = sum(not row.group for row in rows) if found.group is not None else 0
    if alone:
        notes.append(f"{alone} rows have no {found.used()['group']}: their pictures stand alone")
    return Rows(where, form=grid.form, columns=found, rows=rows, notes=tuple(notes))


def _grid_of(data: bytes, *, where: str, limits: Limits, asked: Mapping[str, str], fold: str) -> tuple[Grid, Columns]:
    if not is_workbook(data):

        def known(header: Sequence[str]) -> int:
            return known_columns(header, asked=asked)

        grid = text_table(data, where=where, encoding=asked.get(ENCODING, ""), known=known)
        return grid, find_columns(_header(grid), asked=asked, fold=fold, where=where)
    fitting: list[tuple[Grid, Columns]] = []
    refused: list[ValueError] = []
    for sheet in sheets_of(data, where=where, limits=limits):
        try:
            fitting.append((sheet, find_columns(_header(sheet), asked=asked, fold=fold, where=where)))
        except ValueError as error:
            refused.append(error)
    if len(fitting) == 1:
        return fitting[0]
    if not fitting:
        raise refused[0] if refused else ValueError(f"table {where}: a workbook without a filled sheet")
    titles = ", ".join(grid.sheet.title for grid, _ in fitting if isinstance(grid, SheetTable))[:200]
    raise ValueError(f"table {where}: the sheets {titles} may each be the table of labels; keep one, or save it as CSV")


def _header(grid: Grid) -> list[str]:
    return next(grid.rows(), (1, [""]))[1]


def _raw_rows(grid: Grid, columns: Columns, *, limits: Limits) -> list[Row]:
    """The rows with their cells as they stand; `part` is the split's own text."""
    rows: list[Row] = []
    width, known = len(columns.header), {"": ""}  # one object for equal texts: a million rows have few
    lines = grid.rows()
    next(lines, None)
    for number, cells in lines:
        check_number(len(rows) + 1, unit="rows", where=grid.where, limits=limits)
        damaged = any(cell.strip() for cell in cells[width:])

        def text(place: int | None, cells: Sequence[str] = cells) -> str:
            found = cell_text(cells[place]) if place is not None and place < len(cells) else ""
            return known.setdefault(found, found)

        code = _code(cells, columns=columns, number=number, where=grid.where) if not damaged else ""
        image = cells[columns.image].strip() if columns.image < len(cells) else ""
        part = text(columns.split) or None
        rows.append(Row(number, image, known.setdefault(code, code), text(columns.group), part, damaged=damaged))
    if not rows:
        raise ValueError(
            f"table {grid.where}: expected rows below the header {', '.join(columns.header)[:200]}, got none"
        )
    return rows


def _code(cells: list[str], *, columns: Columns, number: int, where: str) -> str:
    """The class in one column, or the one of several columns that has a 1."""
    if len(columns.classes) == 1:
        place = columns.classes[0]
        return cell_text(cells[place]) if place < len(cells) else ""
    chosen = []
    for place in columns.classes:
        cell = cells[place].strip() if place < len(cells) else ""
        if cell in YES:
            chosen.append(columns.header[place])
        elif cell not in NO:
            raise ValueError(
                f"table {where}: row {number}: column {columns.header[place]}: expected 0 or 1, one column a class, "
                f"got {cell[:40]!r}; name the class's column, or those of the classes: --columns class=A+B+C"
            )
    if len(chosen) > 1:
        raise ValueError(_several(where, number=number, text=" and ".join(chosen)))
    return chosen[0] if chosen else ""


def _one_hot_columns(grid: Grid, columns: Columns) -> tuple[int, ...]:
    """The columns that hold 0 and 1 only, and somewhere 1: the classes, where no column is called one.

    Raises:
        ValueError: fewer than two.
    """
    taken = {columns.image, columns.group, columns.split}
    alive = {place for place, name in enumerate(columns.header) if name and place not in taken}
    alive -= {place for place in alive if is_fold(columns.header[place])}
    seen: set[int] = set()
    lines = grid.rows()
    next(lines, None)
    for _, cells in lines:
        for place in [place for place in alive if place < len(cells)]:
            cell = cells[place].strip()
            if cell in YES:
                seen.add(place)
            elif cell not in NO:
                alive.discard(place)
        if not alive:
            break
    found = tuple(sorted(alive & seen))
    if len(found) < 2:
        raise ValueError(
            f"table {grid.where}: no column that names the class; expected one of class, label, dx, diagnosis, "
            f"category, or a column of 0 and 1 for each class, got {', '.join(columns.header)[:200]}; say which: "
            "--columns class=NAME, or class=A+B+C for columns of 0 and 1"
        )
    return found


def _in_one_spelling(rows: list[Row], *, where: str) -> list[Row]:
    """The rows with equal numbers spelt alike; refuses a class that names several."""
    codes = {row.code for row in rows if row.code}
    for row in rows:
        if row.code and names_several(row.code, alone=codes):
            raise ValueError(_several(where, number=row.number, text=repr(row.code[:80])))
    images = without_fraction(row.image for row in rows if row.image)
    classes, groups = one_name_each(codes), one_name_each_group(row.group for row in rows if row.group)
    return [
        row._replace(image=images.get(row.image, ""), code=classes.get(row.code, ""), group=groups.get(row.group, ""))
        for row in rows
    ]


def _with_parts(rows: list[Row], *, columns: Columns, fold: str | None, where: str) -> tuple[list[Row], list[str]]:
    """The rows with what their split means."""
    texts = Counter(row.part for row in rows if row.part)
    if columns.split is None:
        if fold is not None:
            raise ValueError(
                f"table {where}: --fold {fold}: no column of folds (fold, split), got "
                f"{', '.join(columns.header)[:200]}; say which: --columns split=NAME"
            )
        return rows, []
    name = columns.header[columns.split]
    if fold is not None:
        return _with_fold(rows, texts, name=name, fold=fold, where=where)
    strangers = sorted(text for text in texts if text.casefold() not in PART_NAMES)
    if strangers:
        numbers = sorted(one_name_each(texts).values(), key=lambda text: (len(text), text))
        shown = ", ".join(dict.fromkeys(numbers[:MOST_FOLDS]))
        row = next(row.number for row in rows if row.part == strangers[0])
        raise ValueError(
            f"table {where}: row {row}: column {name} holds {strangers[0][:40]!r}: expected train, validation or test, "
            f"or nothing; it holds {shown[:200]}. If these are folds, --fold {numbers[0][:40]} makes one the "
            "test part; --columns split= ignores the column"
        )
    return [row._replace(part=PART_NAMES[row.part.casefold()] if row.part else None) for row in rows], []


def _with_fold(
    rows: list[Row], texts: Iterable[str], *, name: str, fold: str, where: str
) -> tuple[list[Row], list[str]]:
    spelt = one_name_each({*texts, fold})
    folds = {spelt[text] for text in texts}
    if spelt[fold] not in folds:
        shown = ", ".join(sorted(folds, key=lambda text: (len(text), text))[:MOST_FOLDS])[:200]
        raise ValueError(f"table {where}: --fold {fold}: column {name} has no such fold; expected one of {shown}")
    chosen = [row._replace(part="test" if row.part and spelt[row.part] == spelt[fold] else None) for row in rows]
    without = sum(row.part is None for row in rows)
    notes = [f"{without} rows have no {name}: they are not in the test part"] if without else []
    return chosen, notes


def _several(where: str, *, number: int, text: str) -> str:
    return (
        f"table {where}: row {number}: several classes for one picture ({text}); mdhfl learns one class a picture: "
        "keep one, leave the cell empty to leave the picture out, or name another column: --columns class=NAME"
    )
