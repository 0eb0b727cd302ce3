"""Many classes, long names, many equal pictures: tables, sheets and reasons stay small."""

import time
from pathlib import Path

import numpy as np
import pytest
from fakes.raw_images import class_folders, png, write_files

from mdhfl.preprocessing.arguments import PrepareArguments
from mdhfl.preprocessing.folder.pictures import MOST_ROWS, class_chart, contact_sheet
from mdhfl.preprocessing.pool.candidates import Candidate
from mdhfl.preprocessing.pool.duplicates import duplicate_reasons
from mdhfl.preprocessing.prepare import prepare
from mdhfl.preprocessing.raw.records import Record


def same_picture(number: int) -> Candidate:
    record = Record(f"a/{number:06}.png", code=str(number % 2))
    return Candidate(record, source="folder", input="raw", origin="raw", label=number % 2, group=None)


def test_pictures_that_contradict_each_other_name_a_few_and_take_linear_time() -> None:
    def seconds(number: int) -> float:
        candidates = [same_picture(index) for index in range(number)]
        digests = dict.fromkeys(range(number), "0")
        times = []
        for _ in range(3):
            started = time.process_time()
            reasons = duplicate_reasons(candidates, digests)
            times.append(time.process_time() - started)
        assert list(reasons) == list(range(number))
        assert len(reasons[0]) < 200
        assert f"and {number - 4} more" in reasons[0]
        return min(times)

    assert seconds(80_000) < 24 * seconds(10_000)  # linear: 8; every pair: 64


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({f"c{index:04}/1.png": b"" for index in range(1001)}, "too large: the limit is 1,000 classes, got 1,001"),
        ({"a/1.png": png(1), f"{'b' * 201}/2.png": png(2)}, "too large: the limit is 200 characters, got 201"),
    ],
)
def test_what_cannot_be_meant_as_classes_is_refused(tmp_path: Path, files: dict[str, bytes], message: str) -> None:
    raw = write_files(tmp_path / "raw", files)
    with pytest.raises(ValueError, match=message):
        prepare(PrepareArguments("folder", out=tmp_path / "fed", raw=raw, sites=2), workers=1)


def test_sheets_and_charts_have_a_row_for_a_hundred_classes_and_one_for_the_rest() -> None:
    names = [f"class {index}" for index in range(500)]
    images = [np.zeros((8, 8, 3), dtype=np.uint8)] * 1000
    labels = [index % 500 for index in range(1000)]
    few = contact_sheet(images[:101], labels[:101], classes=names[:101], title="few")
    many = contact_sheet(images, labels, classes=names, title="many")
    assert many.height == few.height
    assert MOST_ROWS == 100


def test_a_chart_of_many_classes_is_not_endless(tmp_path: Path) -> None:
    counts = {f"site-{site}": {f"class {index}": index for index in range(500)} for site in range(2)}
    class_chart(counts, tmp_path / "many.png", title="t")
    assert (tmp_path / "many.png").stat().st_size < 500_000


def test_a_federation_of_many_classes_is_prepared(tmp_path: Path) -> None:
    raw = write_files(tmp_path / "raw", class_folders({f"c{index:03}": 3 for index in range(120)}, top="."))
    done = prepare(PrepareArguments("folder", out=tmp_path / "fed", raw=raw, sites=2, image_size=8), workers=1)
    assert len(done.federation["classes"]) == 120
