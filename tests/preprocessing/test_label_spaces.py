"""Label spaces are complete for every source, and unknown codes say the ways out."""

import json

import pytest

from mdhfl.preprocessing.raw.label_spaces import found_label_space, label_space_names, load_label_space, map_codes
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
