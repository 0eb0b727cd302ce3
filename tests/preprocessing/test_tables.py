"""Tables of labels as spreadsheets, pandas and other projects write them: read right, or refused with the way out."""

import codecs
import io
import sys
import time
import zipfile

import pytest
from fakes.tables import Names, codes, listed, text_of, workbook_of

from mdhfl.preprocessing.raw.manifest_table import find_table
from mdhfl.preprocessing.raw.table_columns import parse_columns

FOUR = ["1.png", "2.png", "3.png", "4.png"]
ROWS = [("file", "class"), ("1.png", "a"), ("2.png", "b"), ("3.png", "a"), ("4.png", "b")]
WANTED = {"1.png": "a", "2.png": "b", "3.png": "a", "4.png": "b"}
PLAIN = text_of(ROWS)
EXCEL = workbook_of(ROWS)


# How a table is written.


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


# Which column is what.


@pytest.mark.parametrize(
    ("header", "used"),
    [
        ("lesion_id,image_id,dx,dx_type,age", {"image": "image_id", "class": "dx", "group": "lesion_id"}),
        ("id_code,diagnosis", {"image": "id_code", "class": "diagnosis"}),
        (
            "Image Index,Finding Labels,Patient ID",
            {"image": "Image Index", "class": "Finding Labels", "group": "Patient ID"},
        ),
        ("isic_id,diagnosis,patient_id,lesion_id", {"image": "isic_id", "class": "diagnosis", "group": "patient_id"}),
        ("id,label", {"image": "id", "class": "label"}),
        ("image_id,path,Label,Slide", {"image": "path", "class": "Label", "group": "Slide"}),
        ("FileName,CATEGORY,SUBSET", {"image": "FileName", "class": "CATEGORY", "split": "SUBSET"}),
        ("ImageID,class,fold,split", {"image": "ImageID", "class": "class", "split": "split"}),
    ],
)
def test_columns_are_found_under_their_usual_names(header, used):
    row = ",".join(
        "train" if value in ("SUBSET", "split") else f"1{'.png' * (value == 'path')}" for value in header.split(",")
    )
    reading = listed(["1.png"], f"{header}\n{row}\n")[2]
    assert dict(reading.columns) == used
    assert set(reading.unused) == set(header.split(",")) - set(used.values())
    for text in (*used.values(), "1 read"):
        assert text in " ".join(reading.sentences())


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("picture,class", r"no column that names the picture.*--columns image=NAME"),
        ("file,kind", r"no column that names the class.*--columns class=NAME"),
        ("file,path,class", r"file and path may each be the image; say which: --columns image=file"),
        ("file,class,label", r"class and label may each be the class; say which: --columns class=class"),
        ("file,class,slide,lesion_id", r"slide and lesion_id may each be the group.*or none: --columns group="),
        ("file,class,split,subset", r"split and subset may each be the split.*or none: --columns split="),
        ("file,class,class", r"class and class may each be the class"),
    ],
)
def test_what_may_mean_several_columns_is_refused_with_the_way_out(header, message):
    with pytest.raises(ValueError, match=message):
        codes(FOUR, f"{header}\n1.png,a,a,a\n")


def test_columns_can_be_given():
    table = "where,what, kind, who,split\nx,1.png,a,p1,left\nx,2.png,b,p1,right\n"
    found, _, reading = listed(FOUR, table, columns="image=what,class=kind, group=WHO,split=")
    assert [(r.key, r.code, r.group, r.part) for r in found.values()] == [
        ("1.png", "a", "p1", None),
        ("2.png", "b", "p1", None),
    ]
    assert reading.unused == ("where", "split")
    assert listed(FOUR, "file,class,patient\n1.png,a,p\n", columns="group=")[0]["1.png"].group is None
    named = 'file,class,"dx, final"\n1.png,a,c\n'
    assert codes(FOUR, named, columns="class=dx, final,image=file") == {"1.png": "c"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kind=x", "expected image="),
        ("class", "expected image="),
        ("class=a,class=b", "at most once"),
        ("class=", "class has no column"),
        ("image=file,encoding=klingon", "expected one as gb18030"),
        ("encoding=base64", "expected one as gb18030"),
    ],
)
def test_columns_that_cannot_be_are_refused(text, message):
    with pytest.raises(ValueError, match=message):
        parse_columns(text)


def test_a_column_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match=r"--columns class=dx: no single column 'dx': it has file, class"):
        codes(FOUR, PLAIN, columns="class=dx")


@pytest.mark.parametrize("yes", ["1", "1.0", "True"])
def test_one_hot(yes):
    no = {"1": "0", "1.0": "0.0", "True": "False"}[yes]
    table = text_of([
        ("image", "MEL", "NV", "BCC", "age"),
        ("1", yes, no, no, "30"),
        ("2", no, yes, no, "40"),
        ("3", no, no, yes, ""),
        ("4", no, no, no, "70"),
    ])  # fmt: skip
    found, skips, reading = listed(FOUR, table)
    assert {key: r.code for key, r in found.items()} == {"1.png": "MEL", "2.png": "NV", "3.png": "BCC"}
    assert [skip.reason for skip in skips] == ["has no class (manifest.csv, row 5)"]
    assert dict(reading.columns)["class"] == "MEL+NV+BCC"
    assert codes(FOUR, table, columns="class=NV+BCC") == {"2.png": "NV", "3.png": "BCC"}


def test_one_hot_with_several_or_other_values_is_refused():
    with pytest.raises(ValueError, match=r"row 3: several classes for one picture \(MEL and NV\)"):
        codes(FOUR, "image,MEL,NV\n1,1,0\n2,1,1\n")
    with pytest.raises(ValueError, match=r"row 3: column NV: expected 0 or 1, one column a class, got '0.7'"):
        codes(FOUR, "image,MEL,NV\n1,1,0\n2,0,0.7\n", columns="class=MEL+NV")
    with pytest.raises(ValueError, match=r"no column that names the class.*--columns class=NAME, or class=A\+B\+C"):
        codes(FOUR, "image,malignant,age\n1,1,30\n2,0,40\n")
    assert codes(FOUR, "image,malignant,age\n1,1,30\n2,0,40\n", columns="class=malignant") == {
        "1.png": "1",
        "2.png": "0",
    }


# What cells mean.


@pytest.mark.parametrize(
    ("texts", "names"),
    [
        (["2", "2.0", "10", "10.00"], ["2", "2", "10", "10"]),
        (["2.0", "2.0", "3.0", "nan"], ["2", "2", "3", None]),
        (["01", "02", "10", "11"], ["01", "02", "10", "11"]),
        (["007", "7", "7.0", "8"], ["7", "7", "7", "8"]),
        (["0.5", "0.50", "1.5", "1e+00"], ["0.5", "0.5", "1.5", "1"]),
        (["2", "2.0", "x", "2.0"], ["2", "2.0", "x", "2.0"]),
        (["\u0661", "1", "2", "\u00b2"], ["\u0661", "1", "2", "\u00b2"]),
    ],
)
def test_one_number_is_one_class_and_one_patient_where_the_whole_column_is_numbers(texts, names):
    rows = [(name, text, text) for name, text in zip(FOUR, texts, strict=True)]
    found = listed(FOUR, text_of([("file", "class", "patient"), *rows]))[0]
    assert [found[name].code if name in found else None for name in FOUR] == names
    assert [found[name].group if name in found else None for name in FOUR] == names


def test_spaces_and_unicode_forms_make_no_second_class():
    names = ["Zelle \u00e4", "Zelle\u00a0\u00e4", "Zelle  a\u0308", " Zelle \u00e4 "]
    table = text_of([("file", "class"), *zip(FOUR, names, strict=True)])
    assert set(codes(FOUR, table).values()) == {"Zelle \u00e4"}


def test_a_patient_written_in_another_case_is_the_same_patient():
    found = listed(FOUR, "file,class,patient\n1.png,a,P1\n2.png,b,p1 \n3.png,b,P2\n4.png,a,P\u00c4\n")[0]
    assert [r.group for r in found.values()] == ["P1", "P1", "P2", "PÄ"]


@pytest.mark.parametrize("missing", ["", " ", "nan", "NaN", "NA", "N/A", "null", "None", "<NA>", "-1", "-1.0"])
def test_a_missing_label_is_left_out_and_counted_and_a_missing_group_stands_alone(missing):
    table = f"file,class,patient\n1.png,a,{missing}\n2.png,{missing},p\n3.png,b,p\n"
    found, skips, reading = listed(FOUR, table)
    assert [(r.key, r.code, r.group) for r in found.values()] == [("1.png", "a", None), ("3.png", "b", "p")]
    assert [(skip.file, skip.reason, skip.lost) for skip in skips] == [
        ("2.png", "has no class (manifest.csv, row 3)", False)
    ]
    assert reading.skipped == (("without a class", 1),)
    assert "1 rows have no patient: their pictures stand alone" in reading.notes


@pytest.mark.parametrize("text", ["none", "unknown", "Na", "0"])
def test_what_may_be_a_class_is_one(text):
    assert codes(FOUR, f"file,class\n1.png,a\n2.png,{text}\n") == {"1.png": "a", "2.png": text}


@pytest.mark.parametrize("text", ["a|b", "a;b", "a | b", "['a', 'b']", "a,b", "a, b"])
def test_several_classes_in_a_cell_are_refused_with_the_way_out(text):
    table = text_of([("file", "class"), ("1.png", "a"), ("2.png", "b"), ("3.png", text)])
    with pytest.raises(ValueError, match=r"row 4: several classes for one picture .*keep one, leave .*--columns"):
        codes(FOUR, table)


def test_a_comma_in_a_classs_name_is_no_list():
    table = text_of([("file", "class"), ("1.png", "carcinoma, NOS"), ("2.png", "carcinoma")])
    assert codes(FOUR, table) == {"1.png": "carcinoma, NOS", "2.png": "carcinoma"}


@pytest.mark.parametrize(
    ("text", "part"),
    [("Train", "training"), (" VAL ", "validation"), ("testing", "test"), ("", None), ("nan", None)],
)
def test_parts(text, part):
    assert listed(FOUR, f"file,class,split\n1.png,a,{text}\n")[0]["1.png"].part == part


@pytest.mark.parametrize("name", ["fold", "split"])
def test_folds_are_refused_until_it_is_said_what_they_are_for(name):
    table = text_of([("file", "class", name), *[(one, "a", f"{i}.0") for i, one in enumerate(FOUR)]])
    with pytest.raises(ValueError, match=rf"{name} holds '0.0'.*0, 1, 2, 3.*--fold 0 makes.*--columns split= ign"):
        codes(FOUR, table)
    assert {r.part for r in listed(FOUR, table, columns="split=")[0].values()} == {None}
    assert [r.part for r in listed(FOUR, table, fold="3")[0].values()] == [None, None, None, "test"]
    with pytest.raises(ValueError, match=rf"--fold 7: column {name} has no such fold; expected one of 0, 1, 2, 3"):
        codes(FOUR, table, fold="7")
    with pytest.raises(ValueError, match=r"--fold 3: no column of folds"):
        codes(FOUR, PLAIN, fold="3")
    both = "file,class,split,fold\n1.png,a,train,3\n2.png,b,train,2\n"
    with pytest.raises(ValueError, match="fold and split may each be the split"):
        codes(FOUR, both, fold="3")
    assert [r.part for r in listed(FOUR, both, fold="3", columns="split=fold")[0].values()] == ["test", None]
    assert [r.part for r in listed(FOUR, both)[0].values()] == ["training", "training"]


# Which file is meant.


@pytest.mark.parametrize(
    ("names", "cell", "wanted"),
    [
        (["a/1.png"], "A/1.PNG", "a/1.png"),
        (["a/IMG_1.JPG"], "a/img_1.jpg", "a/IMG_1.JPG"),
        (["a/1.png"], "a\\1.png", "a/1.png"),
        (["a/1.png"], "./a/1.png", "a/1.png"),
        (["a/1.png"], "../a/1.png", "a/1.png"),
        (["a/1.png", "b/1.png"], "/data/of/someone/a/1.png", "a/1.png"),
        (["a/1.png", "b/1.png"], "C:\\Users\\me\\cells\\a\\1.png", "a/1.png"),
        (["cells/a/1.png", "cells/b/1.png"], "/elsewhere/a/1.png", "cells/a/1.png"),
        (["cells/a/1.png", "cells/b/1.png"], "a/1.png", "cells/a/1.png"),
        (["cells/a/1.png", "cells/b/2.png"], "1.png", "cells/a/1.png"),
        (["cells/a/1.png", "cells/b/2.png"], "1", "cells/a/1.png"),
        (["ISIC_0024306.jpg", "ISIC_0024306_mask.png"], "ISIC_0024306", "ISIC_0024306.jpg"),
        (["1.2.840.113.png"], "1.2.840.113", "1.2.840.113.png"),
        (["1.png", "1.PNG"], "1.PNG", "1.PNG"),
        (["Blastenzelle_a\u0308.png"], "Blastenzelle_\u00e4.png", "Blastenzelle_a\u0308.png"),
        (["Blastenzelle_\u00e4.png"], "blastenzelle_a\u0308", "Blastenzelle_\u00e4.png"),
        (["a/1.png", "1.png"], "1.PNG", "1.png"),
        (["a.b/1#2.png"], "1#2.png", "a.b/1#2.png"),
        (["1.png", "2.png"], "1.0", "1.png"),
    ],
)
def test_the_one_file_that_a_name_fits_is_meant(names, cell, wanted):
    assert codes(names, text_of([("file", "class"), (cell, "x")])) == {wanted: "x"}


@pytest.mark.parametrize(
    ("names", "cell", "reason"),
    [
        (["a/1.png", "b/1.png"], "1.png", "several files fit: a/1.png, b/1.png"),
        (["1.png", "1.jpg"], "1", "several files fit: 1.jpg, 1.png"),
        (["1.png", "1.PNG"], "1.Png", "several files fit"),
        (["a/1.png"], "b/1.png", "there is no such file, but a/1.png"),
        (["1.png"], "1.jpg", "there is no such file, but 1.png"),
        (["1.png"], "a/../1.png", "there is no such file, but 1.png"),
        (["1.png"], "01.png", "there is no such file"),
        (["1.png"], "", "the row names no picture"),
        (["site2/1.png", "2.png"], "site1/1.png", "there is no such file, but site2/1.png"),
    ],
)
def test_a_name_that_fits_no_file_or_several_is_lost_and_counted(names, cell, reason):
    found, skips, reading = listed([*names, "other.gif"], text_of([("file", "class"), (cell, "x"), ("other.gif", "y")]))
    assert list(found) == ["other.gif"]
    (skip,) = skips
    assert skip.lost
    assert skip.reason.startswith(reason)
    assert reading.lost == 1


def test_rows_with_other_folders_are_not_of_one_file():
    table = "file,class\nsite1/1.png,a\nsite2/1.png,a\nsite1/2.png,b\n"
    found, skips, reading = listed(["1.png", "2.png"], table)
    assert list(found) == ["2.png"]
    assert [skip.reason for skip in skips] == [
        "rows with other folders name 1.png too (manifest.csv, row 2)",
        "rows with other folders name 1.png too (manifest.csv, row 3)",
    ]
    assert reading.lost == 2


def test_more_cells_than_the_header_are_not_guessed_at():
    found, skips, reading = listed(["a,b.png", *FOUR], "file,class\na,b.png,x\n1.png,y\n2.png,z,\n")
    assert {key: r.code for key, r in found.items()} == {"1.png": "y", "2.png": "z"}
    assert [(skip.lost, skip.reason) for skip in skips] == [
        (True, "more cells than the header: quote cells with a separator (manifest.csv, row 2)")
    ]
    assert reading.lost == 1


def test_finding_files_takes_time_in_proportion_to_their_number():
    def seconds(number):
        names = [f"p{i}/scan/picture.png" for i in range(number)]
        table = text_of([("file", "class"), *[(f"X:\\p{i}\\scan\\PICTURE.png", "a") for i in range(number)]])
        started = time.process_time()
        assert len(codes(names, table)) == number
        return time.process_time() - started

    assert min(seconds(8_000), seconds(8_000)) < 40 * min(
        seconds(1_000), seconds(1_000)
    )  # linear: 8; each against all: 64


# Rows that say the same or not.


@pytest.mark.parametrize(
    ("rows", "kept", "reasons"),
    [
        (["1.png,a,p,", "1.png,a,p,"], ("a", "p", None), {"listed twice": 1}),
        (["1.png,a,p,", "1.PNG,A,,train"], ("a", "p", "training"), {"listed twice": 1}),
        (["1.png,a,p,", "1.png,b,p,"], None, {"contradicting each other": 2}),
        (["1.png,a,p,", "1.png,a,q,"], None, {"contradicting each other": 2}),
        (["1.png,a,p,train", "1.png,a,p,test"], None, {"contradicting each other": 2}),
        (["1.png,a,p,", "1.png,,p,"], ("a", "p", None), {"without a class": 1}),
    ],
)
def test_rows_about_one_picture(rows, kept, reasons):
    found, skips, reading = listed(["1.png", "x.png"], "\n".join(["file,class,patient,split", *rows, "x.png,b,,"]))
    assert [(r.code, r.group, r.part) for key, r in found.items() if key == "1.png"] == ([kept] if kept else [])
    assert dict(reading.skipped) == reasons
    assert skips


# Which table is meant.


def test_the_only_table_is_taken_and_of_several_the_manifest():
    assert find_table(Names([], {"HAM10000_metadata.csv": b"", "a.png": b""})) == "HAM10000_metadata.csv"
    assert find_table(Names([], {"x/labels.xlsx": b""})) == "x/labels.xlsx"
    assert find_table(Names([], {"a.csv": b"", "x/Manifest.tsv": b"", "x/y/manifest.csv": b""})) == "x/Manifest.tsv"
    assert find_table(Names(["a.png"], {})) is None
    for several in (["train.csv", "test.csv"], ["manifest.csv", "manifest.xlsx"], ["a/manifest.csv", "b/manifest.csv"]):
        with pytest.raises(ValueError, match=r"several tables may hold the labels: .*name one with --labels"):
            find_table(Names([], dict.fromkeys(several, b"")))
