"""The table of the teachers: what is counted, and that the page follows from what was measured."""

import numpy as np

from experiments.teachers import PAGE, page, recalls
from mdhfl.sharing.knowledge import Knowledge, Subject

CLASSES = ["a", "b", "c"]
SUBJECT = Subject(kind="probabilities", classes=tuple(CLASSES), public_digest="0" * 64, public_count=4, views=2)


def said(site: str, rows: list[list[float]], competences: list[float]) -> Knowledge:
    return Knowledge(
        values=np.array(rows, dtype=np.float32),
        subject=SUBJECT,
        site=site,
        round=0,
        competences=np.array(competences, dtype=np.float32),
    )


def test_who_knows_a_class_makes_the_teacher_right_about_it() -> None:
    """Two views of four images: site-1 says "a" of everything, site-2 knows all but the third; one has no class."""
    a, b, c = [0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8]
    first = said("site-1", [a] * 8, [0.5, 0.0, 0.0])
    second = said("site-2", [a, b, b, c] * 2, [0.5, 0.9, 0.9])
    truth = np.array([0, 1, 2, -1])
    found = {row["class"]: row for row in recalls({"site-1": first, "site-2": second}, truth=truth, classes=CLASSES)}
    assert [found[name]["images"] for name in CLASSES] == [1, 1, 1]
    assert [found[name]["sites"] for name in CLASSES] == [1.0, 0.5, 0.0]
    assert [found[name]["best"] for name in CLASSES] == [1.0, 1.0, 0.0]
    assert [found[name]["teacher"] for name in CLASSES] == [1.0, 1.0, 0.0]


def test_the_page_follows_from_what_was_measured() -> None:
    stale = PAGE.read_text(encoding="utf-8") != page()
    assert not stale, "run python -m experiments.teachers --tables"
