"""Tables of labels in every form that people have them in, and files that are only names."""

import csv
import io
from collections.abc import Sequence

import openpyxl

from mdhfl.preprocessing.raw.manifest_table import find_table, label_table
from mdhfl.preprocessing.raw.reading import IMAGE_SUFFIXES
from mdhfl.preprocessing.raw.records import SourceOptions


class Names:
    """Raw data that has names only, and the bytes of its tables."""

    def __init__(self, names: Sequence[str], tables: dict[str, bytes]) -> None:
        self.names, self.tables, self.skipped = sorted([*names, *tables]), tables, []

    def open(self, name):
        return io.BytesIO(self.tables[name])

    def close(self):
        pass


def listed(names, table, *, where="manifest.csv", slices=False, **options):
    """Records by key, skips, and the `TableReading`, of a table among files."""
    data = table if isinstance(table, bytes) else table.encode()
    files = Names(names, {where: data})
    found = label_table(files, SourceOptions(**options), find=find_table, suffixes=IMAGE_SUFFIXES, slices=slices)
    records, skips, understood = found.listing()
    reading = understood.table
    assert reading.read + sum(count for _, count in reading.skipped) == reading.rows
    return {record.key: record for record in records}, skips, reading


def codes(names, table, **options):
    """The class of each picture."""
    return {key: record.code for key, record in listed(names, table, **options)[0].items()}


def text_of(rows, *, delimiter=",", end="\n", quoting=csv.QUOTE_MINIMAL):
    """Rows as a CSV."""
    stream = io.StringIO()
    csv.writer(stream, delimiter=delimiter, lineterminator=end, quoting=quoting).writerows(rows)
    return stream.getvalue()


def workbook_of(*sheets):
    """Rows of each sheet as an .xlsx."""
    book = openpyxl.Workbook()
    book.remove(book.active)
    for number, rows in enumerate(sheets):
        sheet = book.create_sheet(f"Sheet{number + 1}")
        for row in rows:
            sheet.append(list(row))
    stream = io.BytesIO()
    book.save(stream)
    return stream.getvalue()
