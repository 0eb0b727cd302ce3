"""The cells of a table of text: CSV with any usual separator, line end and encoding."""

import codecs
import csv
import io
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from mdhfl.preprocessing.raw.limits import MAX_ROW, too_large

Cells = tuple[int, list[str]]  # the line, from 1, and what it holds

DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
BEGINNING = 1024  # bytes in which UTF-16 without a mark shows
# Bytes beyond ASCII that Western European texts have in Windows-1252; others are more likely of another encoding.
WESTERN = bytes([0x8C, 0x92, 0x96, 0x9C, 0xB0, 0xB2, 0xB3, 0xB5, *(set(range(0xC0, 0x100)) - {0xD7, 0xF7})])
# Hardly ever Western: three in a row (Cyrillic, Chinese, Greek, ...), and letters in UTF-8 beside others.
FOREIGN_RUN = re.compile(rb"[\x80-\xff]{3}|[\xc2\xc3][\x80-\xbf]")
ASCII = bytes(range(128))


@dataclass(frozen=True)
class TextTable:
    """A CSV or its like, found out about but not yet read.

    Attributes:
        where: what errors call it.
        separator_line: the first line only says what separates cells ("sep=;", for Excel).
    """

    data: bytes
    where: str
    encoding: str
    delimiter: str
    separator_line: bool

    @property
    def form(self) -> str:
        """In words."""
        return f"text in {self.encoding.removesuffix('-sig').upper()}, cells between {DELIMITERS[self.delimiter]}"

    def rows(self) -> Iterator[Cells]:
        """Each row that is not blank; the header is the first.

        Raises:
            ValueError: a row is too large, or not CSV.
        """
        lines = _Lines(self.data, encoding=self.encoding, where=self.where)
        if self.separator_line:
            next(lines)
        reader = csv.reader(lines, delimiter=self.delimiter, strict=True)
        try:
            for cells in reader:
                lines.row = 0
                if any(cell.strip() for cell in cells):
                    yield reader.line_num + self.separator_line, cells
        except UnicodeDecodeError as error:
            raise ValueError(f"table {self.where}: expected {self.encoding.upper()}, as it begins ({error})") from error
        except csv.Error as error:
            line = reader.line_num + self.separator_line
            raise ValueError(
                f"table {self.where}: line {line}: expected CSV ({error}); is a quotation mark open, or not doubled?"
            ) from error


def text_table(data: bytes, *, where: str, encoding: str, known: Callable[[Sequence[str]], int]) -> TextTable:
    """Find out how a text is written.

    What separates cells is what lets the header name most known columns, then what gives it most names.

    Args:
        data: the file's bytes.
        where: what errors call it.
        encoding: as given by the user; "": found out by `encoding_of`.
        known: how many columns of a header have a meaning.

    Raises:
        ValueError: its encoding is unknown, or its header is not CSV.
    """
    found = encoding or encoding_of(data, where=where)
    line = next(_Lines(data, encoding=found, where=where), "")
    said = re.fullmatch(r'"?sep=([,;|\t])"?,*\n?', line)
    if said is not None:
        return TextTable(data, where=where, encoding=found, delimiter=said[1], separator_line=True)

    def header(delimiter: str) -> list[str]:
        try:
            return next(TextTable(data, where, found, delimiter, separator_line=False).rows(), (1, [""]))[1]
        except ValueError:  # quotation marks that only another separator explains
            return []

    headers = {delimiter: [name for name in header(delimiter) if name.strip()] for delimiter in DELIMITERS}
    best = max(DELIMITERS, key=lambda delimiter: (known(headers[delimiter]), len(headers[delimiter])))
    return TextTable(data, where=where, encoding=found, delimiter=best, separator_line=False)


def encoding_of(data: bytes, *, where: str) -> str:
    """The encoding of a text, by its mark or by what its bytes can be.

    In this order: the mark at the beginning (UTF-8, UTF-16, UTF-32); UTF-16 where every second byte is 0; UTF-8 where
    all is UTF-8; Windows-1252 where all beyond ASCII are letters of Western Europe, never three in a row.

    Raises:
        ValueError: none of these, or no text; says the way out.
    """
    for mark, name in MARKS:
        if data.startswith(mark):
            return name
    even, odd = data[:BEGINNING:2], data[1:BEGINNING:2]
    if len(odd) > 1 and odd.count(0) > 0.8 * len(odd) and not even.count(0):
        return "utf-16-le"
    if len(odd) > 1 and even.count(0) > 0.8 * len(even) and not odd.count(0):
        return "utf-16-be"
    if 0 in data:
        raise ValueError(f"table {where}: holds zero bytes, which no text has; save it as CSV in UTF-8")
    try:
        codecs.utf_8_decode(data, "strict", True)
    except UnicodeDecodeError as error:
        if not data.translate(None, delete=ASCII + WESTERN) and not FOREIGN_RUN.search(data):
            return "windows-1252"
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"table {where}: line {line}: expected UTF-8 (or UTF-16, or Western European letters in Windows-1252), got "
            f"bytes of another encoding; save it as UTF-8, or name it: --columns encoding=gb18030"
        ) from error
    return "utf-8"


def check_encoding(name: str) -> str:
    """The name as Python has it.

    Raises:
        ValueError: no such encoding of texts.
    """
    try:
        "".encode(name)
        return codecs.lookup(name).name
    except (LookupError, ValueError) as error:
        raise ValueError(f"columns: encoding={name!r}: expected one as gb18030, cp1251, shift_jis or utf-8") from error


class _Lines:
    """The lines of a text, for `csv`, whatever ends them; a row without an end is refused.

    Attributes:
        row: characters of the row being read.
    """

    def __init__(self, data: bytes, *, encoding: str, where: str) -> None:
        self.text, self.where, self.row = io.TextIOWrapper(io.BytesIO(data), encoding=encoding), where, 0

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line = self.text.readline(MAX_ROW + 1)
        if not line:
            raise StopIteration
        self.row += len(line)
        if self.row > MAX_ROW:
            raise ValueError(f"table {self.where}: {too_large(self.row, limit=MAX_ROW, unit='characters in a row')}")
        return line
