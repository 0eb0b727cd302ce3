"""Which column of a table is what, and what its cells mean: found out, or refused with the way out."""

import pytest
from fakes.tables import codes, listed, text_of

from mdhfl.preprocessing.raw.table_columns import parse_columns

FOUR = ["1.png", "2.png", "3.png", "4.png"]
ROWS = [("file", "class"), ("1.png", "a"), ("2.png", "b"), ("3.png", "a"), ("4.png", "b")]
PLAIN = text_of(ROWS)


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
