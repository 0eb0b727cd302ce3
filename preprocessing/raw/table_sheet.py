"""The cells of a sheet of Excel (.xlsx). Needs openpyxl, an extra: `pip install "mdhfl[excel]"`."""

import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from mdhfl.preprocessing.raw.limits import MAX_ROW, MAX_TABLE, Limits, too_large
from mdhfl.preprocessing.raw.sizes import check_number
from mdhfl.preprocessing.raw.table_text import Cells

ZIP_MAGIC, OLD_MAGIC = b"PK\x03\x04", b"\xd0\xcf\x11\xe0"
WIDEST = 16_384  # columns: as many as Excel has


@dataclass(frozen=True)
class SheetTable:
    """One sheet of a workbook."""

    sheet: Any  # openpyxl's
    where: str
    limits: Limits

    @property
    def form(self) -> str:
        """In words."""
        return f"Excel, sheet {self.sheet.title!r}"

    def rows(self) -> Iterator[Cells]:
        """Each row that is not blank, as wide as the header at most; dates as 2026-01-31, formulas as last computed.

        Raises:
            ValueError: too many rows, one that is too large, or a damaged sheet.
        """
        first = next(self._filled(WIDEST), None)
        if first is not None:
            yield from self._filled(len(first[1]))

    def _filled(self, width: int) -> Iterator[Cells]:
        self.sheet.reset_dimensions()  # what the file says of its size may be wrong
        rows = enumerate(self.sheet.iter_rows(values_only=True, max_col=width), start=1)
        while True:
            try:
                number, values = next(rows)
            except StopIteration:
                return
            except Exception as error:  # whatever XML and openpyxl raise
                raise _damaged(self.where, error) from error
            check_number(number - 1, unit="rows", where=self.where, limits=self.limits)
            cells = [_text(value) for value in values]
            while cells and not cells[-1].strip():
                del cells[-1]
            if (size := sum(map(len, cells))) > MAX_ROW:
                raise ValueError(f"table {self.where}: {too_large(size, limit=MAX_ROW, unit='characters in a row')}")
            if cells:
                yield number, cells


def is_workbook(data: bytes) -> bool:
    """Whether a file's bytes are Excel's, of today or of old."""
    return data.startswith((ZIP_MAGIC, OLD_MAGIC))


def sheets_of(data: bytes, *, where: str, limits: Limits) -> list[SheetTable]:
    """The sheets of a workbook that hold something.

    Raises:
        ValueError: a workbook of old or with a password, a damaged one, one that is too large, or openpyxl is missing.
    """
    if data.startswith(OLD_MAGIC):
        raise ValueError(f"table {where}: an .xls, or a workbook with a password; save it as .xlsx or CSV without one")
    try:
        import openpyxl
    except ImportError as error:
        raise ValueError(
            f'table {where}: Excel needs openpyxl: pip install "mdhfl[excel]"; or save it as CSV'
        ) from error
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            size = sum(member.file_size for member in archive.infolist())
    except (zipfile.BadZipFile, ValueError, OSError) as error:
        raise _damaged(where, error) from error
    if size > MAX_TABLE:
        raise ValueError(f"table {where}: {too_large(size, limit=MAX_TABLE, unit='bytes unpacked')}; save it as CSV")
    try:
        book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True)
    except Exception as error:  # whatever XML and openpyxl raise
        raise _damaged(where, error) from error
    sheets = [SheetTable(sheet, where=where, limits=limits) for sheet in book.worksheets]
    return [sheet for sheet in sheets if next(sheet.rows(), None) is not None]


def _text(value: object) -> str:
    """A cell as a CSV would have it."""
    if value is None:
        return ""
    if isinstance(value, datetime) and not (value.hour or value.minute or value.second):
        return value.date().isoformat()
    if isinstance(value, date):
        return value.isoformat()
    return repr(value) if isinstance(value, float) else str(value)


def _damaged(where: str, error: Exception) -> ValueError:
    return ValueError(f"table {where}: not a readable .xlsx ({error}); save it again, or as CSV")
