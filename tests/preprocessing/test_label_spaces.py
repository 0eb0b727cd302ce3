"""Label spaces are complete for every source, and unknown codes say the ways out."""

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdhfl.preprocessing.raw.label_spaces import (
    found_label_space,
    label_space_names,
    load_label_space,
    map_codes,
    spelling_notes,
)
from mdhfl.preprocessing.sources import find_source

WITH_CODES = ("acevedo20", "matek19", "int20")
THIRTEEN = (
    "basophil eosinophil erythroblast myeloblast promyelocyte myelocyte metamyelocyte neutrophil_banded "
    "neutrophil_segmented monocyte lymphocyte_typical lymphocyte_atypical smudge_cell"
)


def classes_of(source, space_name, codes):
    space = load_label_space(space_name)
    mapped = map_codes(codes, source=source, space=space)
    return [None if mapped[code] is None else space.classes[mapped[code]] for code in codes]


@pytest.mark.parametrize("name", ["cytomorphology13", "acevedo8", "common5", "common4"])
@pytest.mark.parametrize("source", WITH_CODES)
def test_every_code_of_every_source_is_mapped_or_dropped_on_purpose(name, source):
    mapped = map_codes(find_source(source).card.codes, source=source, space=load_label_space(name))
    assert any(label is not None for label in mapped.values())


def test_the_thirteen_classes_and_their_codes():
    assert "cytomorphology13" in label_space_names()
    assert load_label_space("cytomorphology13").classes == tuple(THIRTEEN.split())
    assert classes_of("matek19", "cytomorphology13", ["KSC", "MMZ", "MOB", "MYB", "MYO", "PMB"]) == [
        "smudge_cell", "metamyelocyte", "monocyte", "myelocyte", "myeloblast", None,
    ]  # fmt: skip
    codes = ["neutrophil/BNE", "neutrophil/SNE", "ig/PMY", "ig/MY", "ig/MMY", "ig/IG", "neutrophil", "platelet"]
    assert classes_of("acevedo20", "cytomorphology13", codes) == [
        "neutrophil_banded", "neutrophil_segmented", "promyelocyte", "myelocyte", "metamyelocyte", None, None, None,
    ]  # fmt: skip
    codes = ["08-LYMPH-neo", "12-LYMPH-reaktiv", "14-LYMPH-typ", "17-Kernschatten", "04-LGL", "21-Haarzelle"]
    assert classes_of("int20", "cytomorphology13", codes) == [
        "lymphocyte_atypical", "lymphocyte_atypical", "lymphocyte_typical", "smudge_cell", None, None,
    ]  # fmt: skip
    mapped = map_codes(
        find_source("acevedo20").card.codes, source="acevedo20", space=load_label_space("cytomorphology13")
    )
    assert len({label for label in mapped.values() if label is not None}) == 10


def test_a_finer_code_counts_as_its_coarser_one_and_case_does_not_matter():
    assert classes_of("acevedo20", "acevedo8", ["ig/MMY", "neutrophil/BNE"]) == ["ig", "neutrophil"]
    assert classes_of("folder", "common5", ["EOSINOPHIL", "Neutrophil", "neutrophil banded"]) == [
        "eosinophil", "neutrophil", "neutrophil",
    ]  # fmt: skip


def test_unknown_codes_are_listed_with_the_ways_out():
    with pytest.raises(ValueError, match=r"2 code\(s\): hand, zebra.*--label-space auto.*rename the folders"):
        map_codes(["zebra", "eosinophil", "hand"], source="folder", space=load_label_space("common5"))


def test_auto_takes_what_is_found():
    space = found_label_space(["b", "a", "ig/MY", "b"])
    assert space.classes == ("a", "b", "ig_MY")
    assert map_codes(["ig/MY", "b"], source="folder", space=space) == {"ig/MY": 2, "b": 1}
    with pytest.raises(ValueError, match="at least 2"):
        found_label_space(["a"])


@pytest.mark.parametrize(
    ("codes", "classes"),
    [
        (["Eosinophil"] * 3 + ["eosinophil"] * 5 + ["b"], ("b", "eosinophil")),
        (["Eosinophil", "eosinophil", "b"], ("b", "Eosinophil")),
        (["Blastenzelle_a\u0308", "Blastenzelle_\u00e4", "Blastenzelle_\u00e4", "b"], ("b", "Blastenzelle_\u00e4")),
        (["B cell", "b-cell", "B_cell", "B cell ", "T cell"], ("B cell", "T cell")),
        (["STRASSE", "stra\u00dfe", "b"], ("b", "STRASSE")),
        (["ig/MY", "ig_my", "b"], ("b", "ig_MY")),
        (["CD4+", "CD4-", "10\u2075", "105"], ("105", "10\u2075", "CD4+", "CD4-")),  # never one class
    ],
)
def test_spellings_of_one_class_are_one_class(codes, classes):
    space = found_label_space(codes)
    assert space.classes == classes
    assert map_codes(codes, source="folder", space=space).keys() == set(codes)
    assert sum("one class in several spellings" in note for note in spelling_notes(codes)) == (len(classes) < 4)


def test_a_note_shows_spellings_that_look_alike():
    assert spelling_notes(["a\u0308", "\u00e4", "\u00e4", "b"]) == [
        r"one class in several spellings: 'a\u0308' (1 pictures), '\xe4' (2 pictures)"
    ]


@pytest.mark.parametrize(
    ("names", "classes"),
    [
        ([str(number) for number in range(12)], tuple(str(number) for number in range(12))),
        (["grade 10", "grade 9", "Grade 1", "normal"], ("Grade 1", "grade 9", "grade 10", "normal")),
        (["1", "-1", "0.5", "10", "other", "2b"], ("-1", "0.5", "1", "10", "2b", "other")),
        (["b", "A", "C"], ("A", "b", "C")),
    ],
)
def test_numbers_in_names_count_by_their_value(names, classes):
    assert found_label_space(names).classes == classes
    assert found_label_space(reversed(names)).classes == classes


def test_a_datasets_own_order_of_classes_is_kept():
    assert found_label_space(["b", "a", "10", "9", "A"], order=("b", "a", "never")).classes == ("b", "A", "9", "10")


def test_a_class_without_a_name_is_refused():
    with pytest.raises(ValueError, match=r"1 picture.s. of a class without a name"):
        found_label_space(["a", "b", " "])


LETTERS = st.text("aAbB\u00e4\u00c4 _-1", min_size=1, max_size=4).filter(lambda text: text.strip() != "")


@given(st.lists(LETTERS, min_size=1, max_size=12), st.randoms(use_true_random=False))
def test_spelling_and_order_never_change_the_classes(codes, random):
    codes = [*codes, "x", "y"]
    other = [random.choice((str, str.upper, str.lower, lambda t: unicodedata.normalize("NFD", t)))(c) for c in codes]
    space = found_label_space([*codes, *other])
    mapped = map_codes([*codes, *other], source="folder", space=space)
    for code, twin in zip(codes, other, strict=True):
        assert mapped[code] == mapped[twin] is not None
    shuffled = [*other, *codes]
    random.shuffle(shuffled)
    assert found_label_space(shuffled) == space


def test_a_label_space_of_your_own(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(
        json.dumps({"name": "mine", "classes": ["x", "y"], "sources": {"names": {"cat": "x", "dog": None}}})
    )
    assert map_codes(["cat", "dog", "y"], source="folder", space=load_label_space(str(path))) == {
        "cat": 0,
        "dog": None,
        "y": 1,
    }
    for content, message in (
        ("{", "expected JSON"),
        ('{"name": "x"}', "expected JSON with name, classes"),
        ('{"name": "x", "classes": ["a"]}', "at least 2 classes"),
        ('{"name": "x", "classes": ["a", "A"]}', "each once"),
        (
            '{"name": "x", "classes": ["a", "b"], "sources": {"folder": {"c": "a", "C": "b"}}}',
            "spells one code in two ways",
        ),
        (
            '{"name": "x", "classes": ["a", "b"], "sources": {"folder": {"c": "d"}}}',
            "names d, not among its classes",
        ),
    ):
        path.write_text(content)
        with pytest.raises(ValueError, match=message):
            load_label_space(str(path))
    with pytest.raises(ValueError, match="unknown label space 'nothing': expected one of auto, acevedo8"):
        load_label_space("nothing")
