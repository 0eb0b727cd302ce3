"""Tables of labels as spreadsheets, pandas and other projects write them: read right, or refused with the way out."""

import codecs
import io
import sys
import zipfile

import pytest
from fakes.tables import Names, codes, listed, text_of, workbook_of

from mdhfl.preprocessing.raw.manifest_table import find_table

FOUR = ["1.png", "2.png", "3.png", "4.png"]
ROWS = [("file", "class"), ("1.png", "a"), ("2.png", "b"), ("3.png", "a"), ("4.png", "b")]
WANTED = {"1.png": "a", "2.png": "b", "3.png": "a", "4.png": "b"}
PLAIN = text_of(ROWS)
EXCEL = workbook_of(ROWS)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_separators_and_line_ends(delimiter, end):
    assert codes(FOUR, text_of(ROWS, delimiter=delimiter, end=end)) == WANTED


@pytest.mark.parametrize(
    "data",
    [
        PLAIN.encode("utf-8-sig"),
        PLAIN.encode("utf-16"),
        PLAIN.encode("utf-16-le"),
        PLAIN.encode("utf-16-be"),
        codecs.BOM_UTF16_BE + PLAIN.encode("utf-16-be"),
        PLAIN.encode("utf-32"),
        b"sep=;\r\n" + PLAIN.replace(",", ";").encode(),
        b"\r\n\r\n" + PLAIN.encode() + b",\r\n\r\n",
        text_of([[f"  {cell}\t" for cell in row] for row in ROWS]).encode(),
        text_of(ROWS, quoting=1).encode(),
    ],
    ids=[
        "bom",
        "utf-16",
        "utf-16-le",
        "utf-16-be",
        "utf-16-be-bom",
        "utf-32",
        "sep=",
        "blank rows",
        "padded",
        "quoted",
    ],
)
def test_encodings_marks_blank_rows_and_padding(data):
    assert codes(FOUR, data) == WANTED


@pytest.mark.parametrize("name", ["Größe", "éosinophile", "Blastenzelle", "naïve", "µ-Zelle"])
def test_western_letters_in_windows_1252(name):
    table = text_of([("file", "class"), ("1.png", name), ("2.png", "weiß")])
    assert codes(FOUR, table.encode("cp1252")) == {"1.png": name, "2.png": "weiß"}
    assert listed(FOUR, table.encode("cp1252"))[2].form.startswith("text in ")


@pytest.mark.parametrize(
    ("encoding", "name"),
    [
        ("gb18030", "嗜酸性粒细胞"),
        ("cp1251", "эозинофил"),
        ("shift_jis", "好酸球"),
        ("euc_kr", "호산구"),
        ("cp437", "Größe"),
        ("mac_roman", "Größe"),
    ],
)
def test_another_encoding_is_refused_and_can_be_named(encoding, name):
    table = text_of([("file", "class"), ("1.png", "x"), ("2.png", name)]).encode(encoding)
    with pytest.raises(ValueError, match=r"line 3: expected UTF-8 .* save it as UTF-8, or name it: --columns"):
        codes(FOUR, table)
    assert codes(FOUR, table, columns=f"encoding={encoding}") == {"1.png": "x", "2.png": name}


def test_two_encodings_in_one_file_are_refused():
    table = text_of([("file", "class"), ("1.png", "ulcera crónica")]).encode() + "2.png,weiß\n".encode("cp1252")
    with pytest.raises(ValueError, match="line 3: expected UTF-8"):
        codes(FOUR, table)


def test_excel():
    rows = [
        ("file", "class", "patient"),
        ("1.png", 2, 5.0),
        ("2.png", 10, 5),
        ("3.png", None, None),
        (None,),
        ("4.png", 2),
    ]
    found, skips, reading = listed(FOUR, workbook_of(rows), where="manifest.xlsx")
    assert [(r.key, r.code, r.group) for r in found.values()] == [
        ("1.png", "2", "5"),
        ("2.png", "10", "5"),
        ("4.png", "2", None),
    ]
    assert [skip.reason for skip in skips] == ["has no class (manifest.xlsx, row 4)"]
    assert reading.form == "Excel, sheet 'Sheet1'"


def test_excel_takes_the_only_sheet_that_is_a_table():
    notes = [("made by", "me"), ("date", "2026-01-31")]
    assert codes(FOUR, workbook_of(notes, [], ROWS), where="manifest.xlsx") == WANTED
    with pytest.raises(ValueError, match="the sheets Sheet1, Sheet2 may each be the table"):
        codes(FOUR, workbook_of(ROWS, ROWS), where="manifest.xlsx")
    with pytest.raises(ValueError, match="without a filled sheet"):
        codes(FOUR, workbook_of([]), where="manifest.xlsx")
    with pytest.raises(ValueError, match="no column that names the picture"):
        codes(FOUR, workbook_of(notes), where="manifest.xlsx")


def test_excel_of_old_and_damaged_excel_are_refused():
    with pytest.raises(ValueError, match=r"save it as \.xlsx or CSV"):
        codes(FOUR, b"\xd0\xcf\x11\xe0" + bytes(100), where="manifest.xlsx")
    whole = workbook_of(ROWS)
    for length in (10, 100, len(whole) // 2, len(whole) - 30):
        with pytest.raises(ValueError, match=r"not a readable \.xlsx"):
            codes(FOUR, whole[:length], where="manifest.xlsx")


@pytest.mark.parametrize(
    ("sheet", "message"),
    [
        (b'<row r="999999999"><c r="A999999999"><v>1</v></c></row>', "limit is 1,000,000 rows, got 1,000,001"),
        (b"<row><c><v>" + b"1" * (129 << 20) + b"</v></c></row>", "limit is 134,217,728 bytes unpacked"),
        (b'<row><c t="inlineStr"><is><t>' + b"a" * (2 << 20) + b"</t></is></c></row>", "characters in a row"),
    ],
    ids=["rows that are not there", "unpacked", "a cell"],
)
def test_excel_that_is_larger_than_it_looks_is_refused(sheet, message):
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(EXCEL)) as whole, zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as changed:
        for name in whole.namelist():
            changed.writestr(name, whole.read(name).replace(b"</sheetData>", sheet + b"</sheetData>"))
    with pytest.raises(ValueError, match=message):
        codes(FOUR, stream.getvalue(), where="manifest.xlsx")


def test_excel_without_openpyxl_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(ValueError, match=r'needs openpyxl: pip install "mdhfl\[excel\]"; or save it as CSV'):
        codes(FOUR, EXCEL, where="manifest.xlsx")


@pytest.mark.parametrize(
    "table",
    ['file,class\n1.png,"a\n2.png,b\n', 'file,class\n1.png,"a\n2.png,b\n3.png,"c\n', 'file,class\n1.png,"a"b\n'],
)
def test_an_open_quotation_mark_swallows_no_rows(table):
    with pytest.raises(ValueError, match="is a quotation mark open, or not doubled"):
        codes(FOUR, table)


def test_the_only_table_is_taken_and_of_several_the_manifest():
    assert find_table(Names([], {"HAM10000_metadata.csv": b"", "a.png": b""})) == "HAM10000_metadata.csv"
    assert find_table(Names([], {"x/labels.xlsx": b""})) == "x/labels.xlsx"
    assert find_table(Names([], {"a.csv": b"", "x/Manifest.tsv": b"", "x/y/manifest.csv": b""})) == "x/Manifest.tsv"
    assert find_table(Names(["a.png"], {})) is None
    for several in (["train.csv", "test.csv"], ["manifest.csv", "manifest.xlsx"], ["a/manifest.csv", "b/manifest.csv"]):
        with pytest.raises(ValueError, match=r"several tables may hold the labels: .*name one with --labels"):
            find_table(Names([], dict.fromkeys(several, b"")))
