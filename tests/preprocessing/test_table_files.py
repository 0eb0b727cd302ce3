"""Which file each row of a table means, and what becomes of rows that say the same or not."""

import time

import pytest
from fakes.tables import codes, listed, text_of

FOUR = ["1.png", "2.png", "3.png", "4.png"]


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
