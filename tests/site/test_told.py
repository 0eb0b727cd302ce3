"""How much a site tells of its scores and counts is its own choice, and counts that are small are not told."""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes.borders import Asked, ask_first
from fakes.simulated import new_run, site_of

from mdhfl.metrics import scores_from
from mdhfl.sharing.accounts import Losses, Validation
from mdhfl.sharing.knowledge import Knowledge
from mdhfl.sharing.messages import Answer
from mdhfl.sharing.packing import pack
from mdhfl.site.border import Border
from mdhfl.site.settings import SiteSettings


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory, federation: Path) -> Asked:
    changes = {"competence_epochs": 0, "control": True}
    return ask_first(tmp_path_factory.mktemp("asked") / "run", federation, recipe="mdhfl_plus", changes=changes)


def told(asked: Asked, **changed: Any) -> Answer:
    """What leaves of the same answer under other settings; the federation has 24 training and 12 test images a site."""
    settings: SiteSettings = replace(asked.settings, **changed)
    answer = Border(settings).let_out(asked.answer.to_wire(), asked.request)
    again = Border(settings).let_out(answer.to_wire(), asked.request)
    before, after = pack(answer.to_wire()), pack(again.to_wire())
    assert without_reference(before[0]) == without_reference(after[0])
    assert all(np.array_equal(a, b) for a, b in zip(before[1], after[1], strict=True))
    return answer


def without_reference(text: str) -> str:
    return re.sub(r"site\.log: \w{8}", "", text)


def rounded(scores: Validation | None) -> Validation:
    assert scores is not None
    return Validation(**{name: round(value, 3) for name, value in vars(scores).items()})


def test_full_tells_all(asked: Asked) -> None:
    answer = told(asked, scores="full")
    assert answer.validation == asked.answer.validation
    np.testing.assert_array_equal(answer.confusion, asked.answer.confusion)  # type: ignore[arg-type]
    assert answer.control is not None
    assert answer.control.confusion is not None


def test_aggregated_tells_means_of_three_decimals_and_no_counts(asked: Asked) -> None:
    answer = told(asked, scores="aggregated")
    assert answer.confusion is None
    assert answer.test_ece == 0
    assert asked.answer.confusion is not None
    scores = scores_from(asked.answer.confusion, ece=asked.answer.test_ece)
    assert answer.test == rounded(Validation(**{n: getattr(scores, n) for n in Validation.__dataclass_fields__}))
    assert answer.validation == rounded(asked.answer.validation)
    assert answer.control is not None
    assert answer.control.confusion is None
    assert answer.control.test is not None
    assert asked.answer.losses.train is not None
    assert answer.losses.train == round(asked.answer.losses.train, 3) != asked.answer.losses.train


def test_off_tells_none(asked: Asked) -> None:
    answer = told(asked, scores="off")
    assert (answer.validation, answer.confusion, answer.test, answer.control) == (None, None, None, None)
    assert (answer.test_ece, answer.best) == (0, False)
    assert asked.answer.losses.train is not None
    assert answer.losses == Losses()
    assert asked.answer.cost.seconds
    assert answer.cost == replace(asked.answer.cost, seconds={})
    assert answer.shared is not None


def test_a_class_with_few_test_images_is_left_out_of_the_matrix(asked: Asked) -> None:
    """12 test images, 4 of each class: with 5 as the smallest count, no row is told, and no class seems present."""
    answer = told(asked, scores="full", smallest_count=5)
    assert answer.confusion is not None
    assert not answer.confusion.any()
    assert answer.validation is not None  # 12 images in all
    assert answer.control is not None
    assert answer.control.confusion is not None
    assert not answer.control.confusion.any()
    assert asked.answer.control is not None
    assert asked.answer.test_ece > 0 < asked.answer.control.test_ece
    assert answer.test_ece == answer.control.test_ece == 0  # nor what sums up images that are not told
    assert told(asked, scores="full", smallest_count=4).confusion.any()  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({"minimum_images": 25}, "too_few_images"),
        ({"minimum_classes": 4}, "too_few_classes"),
        ({"minimum_classes": 1, "smallest_count": 9}, "too_few_classes"),
        ({"may_share": ()}, "method_not_allowed"),
        ({"public": Path("/nowhere")}, ""),
    ],
)
def test_too_little_data_shares_nothing(asked: Asked, settings: Mapping[str, Any], code: str) -> None:
    answer = told(asked, **settings)
    assert answer == Answer(site="site-1", round=0, refusal=answer.refusal)
    assert f"({code}" in answer.refusal
    assert "24" not in answer.refusal.partition(";")[0]


def test_rare_classes_are_told_like_missing_ones(asked: Asked) -> None:
    """24 training images, 8 of each class."""
    assert told(asked, smallest_count=8).about.missing_classes == ()  # type: ignore[union-attr]
    rare = told(asked, smallest_count=9, minimum_classes=0)
    assert rare.about is not None
    assert rare.about.missing_classes == ("blue", "red", "green")


@pytest.mark.parametrize(
    ("competences", "settings", "leaves"),
    [
        ([0.5, 0.0, 0.33], {"smallest_count": 5}, True),
        ([0.5, 0.0, 0.23], {"smallest_count": 5}, False),  # 0.23: 3 images
        ([0.5, 0.0, 0.23], {"smallest_count": 1}, True),
        ([0.5, 0.0, 0.33], {"withhold": ("competences",)}, False),
    ],
)
def test_competences_tell_no_small_counts(
    asked: Asked, competences: list[float], settings: Mapping[str, Any], leaves: bool
) -> None:
    knowledge = replace(asked.answer.shared, competences=np.array(competences, dtype="f4"))  # type: ignore[type-var]
    answer = told(replace(asked, answer=replace(asked.answer, shared=knowledge)), **settings)
    assert bool(answer.shared) == leaves
    assert leaves or "(held_back; site.log: " in answer.refusal


def test_a_site_says_no_competence_of_a_class_with_few_images(tmp_path: Path, federation: Path) -> None:
    """What it says is what it keeps, since it subtracts its own share later."""
    experiment = new_run(tmp_path / "run", federation, recipe="mdhfl_plus", changes={"competence_epochs": 4})
    site, request = site_of(tmp_path / "run", "site-1"), experiment.request("warm_up", number=0)
    site.settings = replace(site.settings, smallest_count=6)
    kept = site.answer(request).shared
    assert isinstance(kept, Knowledge)
    assert kept.competences is not None
    assert all(one == 0 or one >= 0.37 for one in kept.competences)  # 6 / 16, rounded down to two decimals
    said = Border(site.settings).let_out(site.answer(request).to_wire(), request).shared
    assert isinstance(said, Knowledge)
    np.testing.assert_array_equal(said.competences, kept.competences)
