"""Contact sheets and the class chart: what they show, where, and that equal input gives equal bytes."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mdhfl.preprocessing.drawing.kinds import CLASSES as CELL_CLASSES
from mdhfl.preprocessing.folder.pictures import GAP, HEAD, NOISY, TILE, class_chart, contact_sheet

CLASSES = ("round", "bent", "lobed")
COLOURS = [(200, 30, 30), (30, 200, 30), (30, 30, 200), (200, 200, 30), (30, 200, 200), (200, 30, 200)]


def plain(colour: tuple[int, int, int], *, size: int = 16) -> np.ndarray:
    return np.full((size, size, 3), colour, dtype=np.uint8)


IMAGES = [plain(colour) for colour in COLOURS]


def places(sheet: Image.Image, colour: tuple[int, int, int]) -> np.ndarray:
    """(k, 2) rows and columns of the pixels of exactly that colour."""
    return np.argwhere((np.asarray(sheet) == colour).all(axis=2))


def test_images_stand_in_the_row_of_their_class_at_full_size() -> None:
    labels = [2, 0, 1, 0, 2, 2]
    sheet = contact_sheet(IMAGES, labels, classes=CLASSES, title="site-1")
    for image, label in enumerate(labels):
        found = places(sheet, COLOURS[image])
        assert len(found) == TILE * TILE
        assert found[:, 0].min() == HEAD + label * (TILE + GAP)
    first, second = places(sheet, COLOURS[1]), places(sheet, COLOURS[3])
    assert second[:, 1].min() - first[:, 1].min() == TILE + GAP


def test_wrong_labels_are_outlined_and_stand_first() -> None:
    clean = [0, 0, 0, 1, 1, 2]
    told = [0, 0, 1, 1, 1, 2]
    sheet = contact_sheet(IMAGES, told, classes=CLASSES, clean_labels=clean, title="noisy")
    wrong, right = places(sheet, COLOURS[2]), places(sheet, COLOURS[3])
    assert wrong[:, 1].max() < right[:, 1].min()
    top, left = wrong.min(axis=0)
    assert np.asarray(sheet)[top - 1, left - 1].tolist() == list(NOISY)
    assert np.asarray(sheet)[right.min(axis=0)[0] - 1, right.min(axis=0)[1] - 1].tolist() == [255, 255, 255]
    below = np.asarray(sheet)[top + TILE + 4 : top + TILE + 16, left : left + TILE].astype(int)
    assert (np.abs(below - NOISY).sum(axis=2) < 120).any()  # the clean class is written there


def test_two_clean_classes_never_look_the_same() -> None:
    """Long names are shortened: typical and atypical lymphocytes must still be told apart."""
    sheets = {
        contact_sheet(IMAGES[:1], [0], classes=CELL_CLASSES, clean_labels=[clean], title="noisy").tobytes()
        for clean in range(len(CELL_CLASSES))
    }
    assert len(sheets) == len(CELL_CLASSES)


def test_clean_labels_that_agree_leave_no_mark() -> None:
    sheet = contact_sheet(IMAGES, [0, 0, 1, 1, 2, 2], classes=CLASSES, clean_labels=[0, 0, 1, 1, 2, 2], title="clean")
    assert len(places(sheet, NOISY)) == 0


def test_a_full_row_keeps_the_rate_of_wrong_labels() -> None:
    images, clean = [plain((90, 90, 90))] * 30 + [plain((10, 10, 10))] * 10, [0] * 30 + [1] * 10
    sheet = contact_sheet(images, [0] * 40, classes=CLASSES, clean_labels=clean, title="quarter", columns=8)
    assert len(places(sheet, (10, 10, 10))) == 2 * TILE * TILE
    assert len(places(sheet, (90, 90, 90))) == 6 * TILE * TILE


def test_unlabelled_images_fill_a_grid_and_captions_stand_below() -> None:
    bare = contact_sheet(IMAGES, title="public", columns=4)
    assert bare.height == HEAD + 2 * (TILE + GAP) + 16
    assert places(bare, COLOURS[4])[:, 0].min() == HEAD + TILE + GAP
    captioned = contact_sheet(IMAGES, captions=["a note"] * 6, title="public", columns=4)
    assert captioned.height > bare.height


def test_an_empty_sheet_and_an_empty_class_are_drawn() -> None:
    assert contact_sheet([], title="nothing").width > 100
    assert contact_sheet(IMAGES[:1], [0], classes=CLASSES, title="one").height == HEAD + 3 * (TILE + GAP) + 16


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": [0]}, "expected 6 labels, one per image, got 1"),
        ({"clean_labels": [0] * 7}, "expected 6 clean_labels"),
        ({"labels": [0, 1, 2, 3, 4, 0]}, r"labels \[3, 4\] are not among the 3 classes"),
        ({"columns": 0}, "at least 1 column"),
    ],
)
def test_bad_arguments_are_named(changes: dict[str, object], message: str) -> None:
    arguments: dict[str, object] = {"labels": [0] * 6, "classes": CLASSES, "title": "bad", **changes}
    with pytest.raises(ValueError, match=message):
        contact_sheet(IMAGES, **arguments)  # type: ignore[arg-type]


def test_equal_input_equal_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        contact_sheet(IMAGES, [0, 1, 2] * 2, classes=CLASSES, title="same", path=tmp_path / f"{name}-sheet.png")
        class_chart({"site-1": {"round": 3, "bent": 0}}, tmp_path / f"{name}-chart.png")
    for kind in ("sheet", "chart"):
        assert (tmp_path / f"a-{kind}.png").read_bytes() == (tmp_path / f"b-{kind}.png").read_bytes()
    assert b"tIME" not in (tmp_path / "a-sheet.png").read_bytes()


def shade(chart: Image.Image, *, column: int, columns: int, row: int) -> int:
    """Red of a table cell's left edge, which no digit touches: lower is darker."""
    pixels = np.asarray(chart)
    right = chart.width - 16
    return int(pixels[78 + 28 * row + 5, right - 84 * (columns - column) + 5, 0])


def test_the_chart_is_darker_where_a_class_is_commoner_and_marks_what_is_missing(tmp_path: Path) -> None:
    counts = {"site-1": {"round": 90, "bent": 10, "lobed": 0}, "site-2": {"round": 5, "bent": 5}}
    class_chart(counts, tmp_path / "chart.png")
    chart = Image.open(tmp_path / "chart.png").convert("RGB")
    first = [shade(chart, column=0, columns=2, row=row) for row in range(3)]
    assert first[0] < first[1] < first[2] == 255
    second = [shade(chart, column=1, columns=2, row=row) for row in range(3)]
    assert second[0] == second[1] < second[2] == 255
    orange = np.argwhere(np.abs(np.asarray(chart).astype(int) - NOISY).sum(axis=2) < 40)
    assert len(orange) > 0
    assert orange[:, 0].min() > 78 + 28 * 2  # "none" stands in the last row only


def test_a_chart_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one site with a class"):
        class_chart({}, tmp_path / "chart.png")


def test_many_sites_with_long_names_fit(tmp_path: Path) -> None:
    counts = {f"a-hospital-far-away-{index}": {"round": 12_345, "bent": 1} for index in range(7)}
    class_chart(counts, tmp_path / "chart.png")
    edge = np.asarray(Image.open(tmp_path / "chart.png"))[:, -8:]
    assert (edge == 255).all()
