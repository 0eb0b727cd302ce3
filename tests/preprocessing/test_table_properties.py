"""A known table, written in every dialect, encoding and naming: the same pictures, classes and groups come out."""

import unicodedata
from dataclasses import dataclass

from fakes.tables import listed, text_of, workbook_of
from hypothesis import given, settings
from hypothesis import strategies as st

from mdhfl.preprocessing.raw.table_values import MISSING, NUMBER

WESTERN = "aböüéß -.#'\"(),12AZ"  # what Windows-1252 can write; a comma and a quotation mark want quoting
ANY = WESTERN + "酸粒Зñ™"
FOLDERS = ["", "cells/", "cells/a b/", "Data/x.y/"]


def words(alphabet):
    return st.text(alphabet, min_size=1, max_size=8).map(
        lambda text: unicodedata.normalize("NFC", " ".join(text.split()))
    )


@dataclass(frozen=True)
class Known:
    """What a table says: file, class, group ("": none) of each picture, and the encodings that can write it."""

    rows: tuple[tuple[str, str, str], ...]
    western: bool


@st.composite
def known_tables(draw):
    western = draw(st.booleans())
    texts = words(WESTERN if western else ANY)
    stems = draw(st.lists(texts.filter(_is_stem), min_size=2, max_size=12, unique_by=str.casefold))
    numbers = draw(st.booleans())
    classes = st.integers(0, 30).map(str) if numbers else texts.filter(_is_word).map(lambda text: f"k{text}")
    groups = st.integers(0, 30).map(str) if numbers else texts.filter(_is_word).map(lambda text: f"p{text.casefold()}")
    spread = draw(st.lists(st.sampled_from(FOLDERS), min_size=len(stems), max_size=len(stems)))
    some_classes = draw(st.lists(classes, min_size=1, max_size=4))
    some_groups = draw(st.lists(groups, min_size=1, max_size=4))
    rows = [
        (
            f"{folder}{stem}.png",
            draw(st.sampled_from(some_classes)),
            draw(st.sampled_from([*some_groups, ""])),
        )
        for folder, stem in zip(spread, stems, strict=True)
    ]
    return Known(tuple(rows), western=western and not _has_foreign_runs(rows))


def _is_stem(text):
    return text not in ("", ".", "..") and not text.startswith((".", "#", " ")) and not text.endswith((".", ":"))


def _is_word(text):
    return text not in MISSING and not NUMBER.fullmatch(text) and "," not in text


def _has_foreign_runs(rows):
    text = "\n".join(",".join(row) for row in rows)
    return any(all(ord(one) > 127 for one in text[i : i + 3]) for i in range(len(text) - 2))


HEADERS = st.tuples(
    st.sampled_from(["file", "Filename", "image_id", "Image Path", "IMG-ID", "isic_id"]),
    st.sampled_from(["class", "Label", "dx", "Diagnosis", "Cell Type"]),
    st.sampled_from(["patient", "Patient ID", "lesion_id", "GROUP", "case-id"]),
)


def names_as_written(draw, rows):
    """Each picture's name, one way for each: as it is, another case, folders before it, back-slashes, no suffix."""
    ways = [
        lambda name: name,
        lambda name: name.upper().replace("SS", "ß") if "ß" in name else name.upper(),
        lambda name: "/home/me/data/" + name,
        lambda name: "C:\\data\\" + name.replace("/", "\\"),
        lambda name: "./" + name,
        lambda name: name.removesuffix(".png"),
        lambda name: unicodedata.normalize("NFD", name),
    ]
    return [draw(st.sampled_from(ways))(name) for name, _, _ in rows]


def spelt(draw, text, *, numbers):
    return draw(st.sampled_from([text, f"{text}.0"])) if text and numbers else text


@settings(max_examples=150, deadline=None)
@given(data=st.data(), known=known_tables(), header=HEADERS)
def test_the_same_pictures_classes_and_groups_come_out_of_every_form(data, known, header):
    draw = data.draw
    western = known.western and draw(st.booleans())
    names = [name for name, _, _ in known.rows]
    written = names if western else names_as_written(draw, known.rows)
    numeric = {place: all(NUMBER.fullmatch(row[place]) for row in known.rows if row[place]) for place in (1, 2)}
    order = draw(st.permutations(range(5)))
    cells = [
        (
            file,
            spelt(draw, code, numbers=numeric[1]),
            spelt(draw, group, numbers=numeric[2]) or draw(st.sampled_from(["", "nan", "NA"])),
            "42",
            "",
        )
        for file, (_, code, group) in zip(written, known.rows, strict=True)
    ]
    rows = [[row[place] for place in order] for row in [(*header, "age", "remarks"), *cells]]
    rows = [[draw(st.sampled_from(["", " "])) + cell for cell in row] for row in rows]
    if draw(st.sampled_from(["text", "text", "text", "Excel"])) == "Excel":
        where, table = "manifest.xlsx", workbook_of(rows)
    else:
        delimiter = draw(st.sampled_from([",", ";", "\t"]))
        end, quoting = draw(st.sampled_from(["\n", "\r\n", "\r"])), draw(st.sampled_from([0, 1]))
        encoding = "cp1252" if western else draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"]))
        where, table = "manifest.csv", text_of(rows, delimiter=delimiter, end=end, quoting=quoting).encode(encoding)
    found, skips, reading = listed(names, table, where=where)
    assert {key: (r.code, r.group) for key, r in found.items()} == {
        name: (code, group or None) for name, code, group in known.rows
    }
    assert not skips
    assert dict(reading.columns) == dict(zip(("image", "class", "group"), header, strict=True))
    assert reading.read == reading.rows == len(known.rows)


@settings(max_examples=100, deadline=None)
@given(data=st.data(), known=known_tables())
def test_one_column_a_class_says_the_same_as_one_column(data, known):
    classes = sorted({code for _, code, _ in known.rows} | {"other"})
    yes, no = data.draw(st.sampled_from([("1", "0"), ("1.0", "0.0"), ("True", "False"), ("1", "")]))
    rows = [
        ("image", *classes),
        *[(name, *[yes if code == one else no for one in classes]) for name, code, _ in known.rows],
    ]
    asked = f"class={'+'.join(classes)}" if len(classes) < 3 or yes == "1" else ""
    if any("+" in one or "," in one for one in classes):
        asked = ""
    if not asked and len({code for _, code, _ in known.rows}) < 2:
        return
    found = listed([name for name, _, _ in known.rows], text_of(rows), columns=asked)[0]
    assert {key: r.code for key, r in found.items()} == {name: code for name, code, _ in known.rows}


@settings(max_examples=200, deadline=None)
@given(data=st.data(), known=known_tables())
def test_every_row_is_read_or_skipped_with_a_reason_and_nothing_is_made_up(data, known):
    """Rows again, contradicted, emptied, torn or of no file: no row and no picture is gone without a word."""
    draw, rows = data.draw, [list(row) for row in known.rows]
    for _ in range(draw(st.integers(0, 6))):
        place = draw(st.integers(0, len(rows) - 1))
        kind = draw(st.sampled_from(["again", "contradicted", "no class", "no file", "no name", "torn"]))
        row = rows[place]
        if kind == "again":
            rows.append(list(row))
        elif kind == "contradicted":
            rows.append([row[0], "quite another", row[2]])
        elif kind == "no class":
            rows[place] = [row[0], draw(st.sampled_from(sorted(MISSING))), row[2]]
        elif kind == "no file":
            rows[place] = ["nowhere/to be found.png", *row[1:]]
        elif kind == "no name":
            rows[place] = ["", *row[1:]]
        else:
            rows[place] = [*row, "", "more"]
    names = [name for name, _, _ in known.rows]
    found, skips, reading = listed(names, text_of([("file", "class", "patient"), *rows]))  # counts every row
    assert reading.rows == sum(any(row) for row in rows)  # a blank one is none
    assert len(found) == reading.pictures - reading.contradicting
    told = {
        name: {row[1] for row in rows if row[0] == name and len(row) == 3 and row[1] not in MISSING} for name in names
    }
    assert {key: {r.code} for key, r in found.items()} == {
        key: classes for key, classes in told.items() if len({one.casefold() for one in classes}) == 1
    }
    left = {skip.file for skip in skips}
    assert {key for key, classes in told.items() if len(classes) > 1} <= left
    assert reading.lost == sum(skip.lost for skip in skips)
