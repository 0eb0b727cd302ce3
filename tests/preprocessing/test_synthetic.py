"""Drawn cells: the same from the same seed, every class, other scanners other pictures, learnable but not trivial."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from mdhfl.preprocessing.drawing.cell import draw_cell
from mdhfl.preprocessing.drawing.kinds import CLASSES
from mdhfl.preprocessing.drawing.scanners import photograph, scanner
from mdhfl.preprocessing.raw.label_spaces import load_label_space
from mdhfl.preprocessing.raw.records import SourceOptions
from mdhfl.preprocessing.sources import find_source
from mdhfl.preprocessing.sources.synthetic import synthetic_records

HOME = scanner(0, seed=0)
PLAIN = replace(HOME, focus=0.1, noise=0.0, vignette=0.0, slope=(0.0, 0.0), crowding=0.0)


def middle(picture: np.ndarray) -> np.ndarray:
    """The quarter in the middle, where the white cell is; as numbers that can be subtracted."""
    quarter = len(picture) // 4
    return picture[quarter:-quarter, quarter:-quarter].astype(float)


def mean_of(class_name: str, *, count: int = 24) -> np.ndarray:
    """(3,) mean colour of the middle of many cells, without camera effects."""
    return np.mean(
        [middle(draw_cell(class_name, seed=s, scanner=PLAIN, size=32)).mean((0, 1)) for s in range(count)], 0
    )


def test_classes_are_those_of_the_label_space_in_its_order() -> None:
    assert load_label_space("cytomorphology13").classes == CLASSES


@pytest.mark.parametrize("class_name", CLASSES)
def test_every_class_is_drawn_dark_in_the_middle_of_a_light_field(class_name: str) -> None:
    for seed in range(5):
        picture = draw_cell(class_name, seed=seed, scanner=PLAIN, size=32)
        assert (picture.shape, picture.dtype) == ((32, 32, 3), np.uint8)
        red = picture[..., 0].astype(float)
        assert np.quantile(red[11:21, 11:21], 0.2) < 0.75 * np.quantile(red, 0.95)


@pytest.mark.parametrize("size", [8, 28, 32, 65, 128])
def test_sizes_show_the_same_cell(size: int) -> None:
    picture = draw_cell("monocyte", seed=3, scanner=PLAIN, size=size)
    assert picture.shape == (size, size, 3)


def test_same_arguments_same_pixels_and_other_arguments_others() -> None:
    first = draw_cell("monocyte", seed=7, scanner=HOME, size=32)
    assert np.array_equal(first, draw_cell("monocyte", seed=7, scanner=scanner(0, seed=0), size=32))
    others = [
        draw_cell("monocyte", seed=8, scanner=HOME, size=32),
        draw_cell("basophil", seed=7, scanner=HOME, size=32),
        draw_cell("monocyte", seed=7, scanner=scanner(1, seed=0), size=32),
        draw_cell("monocyte", seed=7, scanner=scanner(0, seed=1), size=32),
    ]
    for other in others:
        assert np.abs(first.astype(int) - other).mean() > 2


def test_scanners_differ_in_colour_and_stay_themselves() -> None:
    whites = np.array([scanner(index, seed=0).white for index in range(6)])
    assert len(np.unique(whites.round(3), axis=0)) == 6
    assert scanner(2, seed=5) == scanner(2, seed=5) != scanner(2, seed=6)
    assert [scanner(index, seed=0).name for index in (0, 9)] == ["scanner-01", "scanner-10"]


def test_focus_noise_and_light_do_what_they_say() -> None:
    def drawn(**changes: Any) -> np.ndarray:
        return draw_cell("eosinophil", seed=1, scanner=replace(PLAIN, **changes), size=64).astype(float)

    def roughness(picture: np.ndarray) -> float:
        return float(np.abs(np.diff(picture, axis=0)).mean())

    assert roughness(drawn(focus=1.0)) < 0.8 * roughness(drawn())
    assert roughness(drawn(noise=0.05)) > 1.5 * roughness(drawn())
    assert drawn(vignette=0.3)[:4, :4].mean() < 0.8 * drawn()[:4, :4].mean()
    slope = drawn(slope=(0.2, 0.0)) - drawn()
    assert slope[:, -8:].mean() > 3 > -3 > slope[:, :8].mean()


def test_an_empty_slide_has_the_colour_of_the_background() -> None:
    picture = photograph(np.zeros((4, 64, 64)), scanner=PLAIN, size=32, generator=np.random.default_rng(0))
    assert np.ptp(picture, axis=(0, 1)).max() == 0
    ratio = (picture[0, 0] / 255) ** (1 / PLAIN.gamma) / np.array(PLAIN.white)
    assert np.ptp(ratio) < 0.02
    assert 0.94 < ratio.mean() < 1.05


def test_more_stain_is_darker() -> None:
    amounts = np.zeros((4, 64, 64))
    amounts[0, :, 32:] = 0.5
    picture = photograph(amounts, scanner=PLAIN, size=32, generator=np.random.default_rng(0)).astype(float)
    assert (picture[:, :12].mean((0, 1)) > 1.1 * picture[:, -12:].mean((0, 1))).all()


def test_cells_have_the_colours_of_their_kind() -> None:
    colour = {name: mean_of(name) for name in ("eosinophil", "basophil", "myeloblast", "lymphocyte_typical")}
    redness = {name: value[0] - value[2] for name, value in colour.items()}
    assert redness["eosinophil"] > max(value for name, value in redness.items() if name != "eosinophil") + 20
    assert colour["basophil"].mean() < colour["eosinophil"].mean()


def test_a_myeloblast_is_larger_than_a_lymphocyte_and_that_larger_than_an_erythroblast() -> None:
    def dark_share(name: str) -> float:
        pictures = [draw_cell(name, seed=seed, scanner=PLAIN, size=32) for seed in range(24)]
        return float(np.mean([picture[..., 1] < 110 for picture in pictures]))

    assert dark_share("myeloblast") > 1.2 * dark_share("lymphocyte_typical") > 1.5 * dark_share("erythroblast")


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="class 'platelet': expected one of basophil"):
        draw_cell("platelet", seed=0, scanner=HOME, size=32)
    with pytest.raises(ValueError, match="size 4: expected at least 8"):
        draw_cell("basophil", seed=0, scanner=HOME, size=4)
    with pytest.raises(ValueError, match="scanner -1"):
        scanner(-1, seed=0)
    with pytest.raises(ValueError, match="cannot draw platelet"):
        synthetic_records(classes=("platelet",), images=10, scanners=1, seed=0)
    with pytest.raises(ValueError, match="at least 1 image"):
        synthetic_records(classes=(), images=0, scanners=1, seed=0)


def test_records_are_sorted_unique_and_cover_every_class_at_every_scanner() -> None:
    records = synthetic_records(classes=(), images=60, scanners=3, seed=0)
    assert records == sorted(records)
    assert len({record.key for record in records}) == len(records) == 180
    for origin in ("scanner-01", "scanner-02", "scanner-03"):
        mine = [record.code for record in records if record.origin == origin]
        assert len(mine) == 60
        assert set(mine) == set(CLASSES)
    assert not any(name in record.key for record in records for name in CLASSES)


def test_class_shares_differ_between_scanners_but_not_wildly() -> None:
    records = synthetic_records(classes=CLASSES[:5], images=500, scanners=2, seed=0)
    seen = Counter((record.origin, record.code) for record in records)
    counts = np.array([[seen[origin, name] for name in CLASSES[:5]] for origin in ("scanner-01", "scanner-02")])
    assert (counts[0] != counts[1]).any()
    assert counts.min() > 30
    assert counts.max() < 250


def test_the_source_draws_each_origin_with_its_own_scanner_whatever_else_is_drawn() -> None:
    options = SourceOptions(seed=4, size=32, classes=("monocyte", "basophil"), origins=2, images=6)
    source = find_source("synthetic").open(None, options=options)
    records = source.records()
    pictures = {record.key: source.read(record) for record in records}
    assert {record.code for record in records} == {"monocyte", "basophil"}
    assert len({picture.tobytes() for picture in pictures.values()}) == len(records) == 12
    again = find_source("synthetic").open(None, options=replace(options, origins=3))
    last = records[-1]
    assert np.array_equal(again.read(last), pictures[last.key])
    background = [
        np.median([pictures[r.key].reshape(-1, 3).max(0) for r in records if r.origin == origin], axis=0)
        for origin in ("scanner-01", "scanner-02")
    ]
    assert np.abs(background[0] - background[1]).max() > 4


def test_the_source_refuses_raw_data(tmp_path: Any) -> None:
    with pytest.raises(ValueError, match="takes no raw data"):
        find_source("synthetic").open(tmp_path, options=SourceOptions())


@pytest.mark.slow
def test_learnable_and_not_trivial() -> None:
    """A small network after a few epochs on 500 cells of five classes: well above chance (0.2), below 0.95."""
    torch = pytest.importorskip("torch")
    names = ("eosinophil", "erythroblast", "neutrophil_segmented", "monocyte", "lymphocyte_typical")
    labels = np.arange(800) % len(names)
    cells = np.stack([draw_cell(names[label], seed=i, scanner=HOME, size=32) for i, label in enumerate(labels)])
    images = torch.from_numpy(cells).permute(0, 3, 1, 2).float() / 127.5 - 1
    targets = torch.from_numpy(labels)
    torch.manual_seed(0)
    widths = (3, 16, 32, 64)
    layers: list[Any] = []
    for before, after in pairwise(widths):
        layers += [torch.nn.Conv2d(before, after, 3, padding=1), torch.nn.BatchNorm2d(after), torch.nn.ReLU()]
        layers += [torch.nn.MaxPool2d(2)]
    network = torch.nn.Sequential(*layers, torch.nn.Flatten(), torch.nn.Linear(64 * 16, len(names)))
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    for _ in range(6):
        for batch in torch.randperm(500).split(20):
            loss = torch.nn.functional.cross_entropy(network(images[batch]), targets[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    network.eval()
    with torch.inference_mode():
        accuracy = float((network(images[500:]).argmax(1) == targets[500:]).float().mean())
    assert 0.55 < accuracy < 0.95
