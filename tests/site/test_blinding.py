"""Blind sums: right whoever is missing, and unreadable for a server and for a curious site."""

from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes.blind import SITES, Blind

from mdhfl.methods import KnowledgeMethod
from mdhfl.methods.blind import NoSum
from mdhfl.methods.fedmd import FedMd
from mdhfl.methods.mdhfl import Mdhfl
from mdhfl.methods.mdhfl_geometric import MdhflGeometric
from mdhfl.methods.mdhfl_plus import MdhflPlus
from mdhfl.sharing.competence import ClassTeaching, class_teacher
from mdhfl.sharing.masked import BlindTeaching, Masked
from mdhfl.sharing.masks import floating
from mdhfl.sharing.pledges import BlindRoll
from mdhfl.sharing.records import Lesson
from mdhfl.sharing.teaching import Teaching

METHODS: list[tuple[KnowledgeMethod, float]] = [  # and the largest error of a teacher
    (Mdhfl(blind=True), 1.2e-7),  # two units in the last place of float32
    (FedMd(blind=True), 4e-6),  # of logits up to 100
    (MdhflGeometric(blind=True), 1e-6),  # of probabilities that are a softmax of such logits
    (MdhflPlus(blind=True, views=2), 1.2e-7),
    # Squared competences of the others alone add up to little, and a sum's error is divided by that.
    (MdhflPlus(blind=True, views=2, include_own=False, competence_power=2.0), 1e-6),
]


def teacher_of(blind: Blind, lesson: Lesson, site: str) -> np.ndarray:
    method, own = blind.method, blind.knowledge(site)
    if isinstance(method, MdhflPlus):
        assert isinstance(lesson, ClassTeaching)
        how: dict[str, Any] = {"include_own": method.include_own, "power": method.competence_power}
        found = class_teacher(lesson, own=own, site=site, **how)
    else:
        assert isinstance(lesson, Teaching)
        found = method.teacher(lesson, own=own, site=site)
    assert found is not None
    return found


@pytest.mark.parametrize(("method", "largest_error"), METHODS, ids=lambda m: type(m).__name__)
@pytest.mark.parametrize(
    "gone",
    [
        {},
        {"learn": ("site-2",)},
        {"commit": ("site-2",)},
        {"commit": ("site-4",)},
        {"reveal": ("site-1",)},
        {"commit": ("site-3",), "reveal": ()},
    ],
    ids=["all", "before its pledge", "after its pledge", "the last after its pledge", "after its numbers", "another"],
)
def test_every_teacher_is_that_of_a_server_which_sees_all(
    tmp_path: Path, method: KnowledgeMethod, largest_error: float, gone: dict[str, tuple[str, ...]]
) -> None:
    blind = Blind(tmp_path, method=method, gone=gone)
    lessons = blind.lessons(blind.masked())
    absent = {*gone.get("learn", ()), *gone.get("commit", ())}
    there = [site for site in SITES if site not in absent]
    assert set(lessons) == set(SITES) - set(gone.get("learn", ()))
    for site in lessons:  # one that fell silent after its pledge can read the sum, too
        found = blind.read(site, lessons[site])
        expected = teacher_of(blind, blind.plain(there), site)
        error = np.abs(teacher_of(blind, found, site).astype(np.float64) - expected).max()
        assert error <= largest_error


def test_the_masks_of_an_absent_site_and_help_that_never_comes_are_made_up_for_together(tmp_path: Path) -> None:
    """Six sites: one falls silent before it has sent numbers, another after; the seeds that only these two had."""
    sites = tuple(f"site-{i}" for i in range(1, 7))
    blind = Blind(tmp_path, sites=sites, gone={"commit": ("site-2",), "reveal": ("site-5",)})
    lesson = blind.lessons(blind.masked())["site-1"]
    assert isinstance(lesson, BlindTeaching)
    assert lesson.sites == ("site-1", "site-3", "site-4", "site-5", "site-6")
    found = blind.read("site-1", lesson)
    np.testing.assert_allclose(found.values, blind.plain(lesson.sites).values, atol=1e-6)  # type: ignore[attr-defined]


def test_any_three_of_four_open_the_same_sum(tmp_path: Path) -> None:
    found = []
    for helpers in combinations(SITES, 3):
        blind = Blind(tmp_path, gone={"reveal": tuple(set(SITES) - set(helpers))})
        lesson = blind.lessons(blind.masked())["site-1"]
        assert isinstance(lesson, BlindTeaching)
        found.append(lesson.values.tobytes())
    assert len(set(found)) == 1
    blind = Blind(tmp_path, gone={"reveal": ("site-1", "site-2")})
    with pytest.raises(NoSum, match=r"expected at least 3 of 4 sites .* got 2 .*deadline"):
        blind.lessons(blind.masked())


# what each can see


def test_the_server_sees_neither_a_sites_numbers_nor_their_sum(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sum under its veils is as far from the real one as a random one; the site that takes them off has it."""
    monkeypatch.setattr("fakes.blind.IMAGES", 300)  # of 900 random numbers none will ever correlate by 0.4
    blind = Blind(tmp_path)
    masked = blind.masked()
    lesson = blind.lessons(masked)["site-1"]
    assert isinstance(lesson, BlindTeaching)
    seen = [said.values for said in masked.shared.values() if isinstance(said, Masked)] + [lesson.values]
    real = np.asarray(blind.plain(SITES).values, dtype=np.float64)  # type: ignore[attr-defined]
    for values in seen:
        as_read = floating(values, addends=4, largest=blind.method.largest)
        assert np.abs(as_read - real).mean() > 1  # numbers from -8 to 8, where there are sums from 0 to 4
        assert np.abs(np.corrcoef(as_read.ravel(), real.ravel())[0, 1]) < 0.4
    assert len({values.tobytes() for values in seen}) == 5


def test_masked_numbers_are_spread_evenly_over_all_that_there_are(tmp_path: Path) -> None:
    """Of 4 sites, 40 experiments: each of 16 equal parts of the range has its share of 3360 numbers."""
    found = []
    for seed in range(40):
        blind = Blind(tmp_path / str(seed), seed=seed)
        found += [s.values.ravel() for s in blind.masked().shared.values() if isinstance(s, Masked)]
    counts = np.bincount(np.concatenate(found) >> 28, minlength=16)
    expected = counts.sum() / 16
    assert ((counts - expected) ** 2 / expected).sum() < 45  # chi-squared, 15 degrees: once in 10,000


def test_a_curious_site_learns_no_more_than_the_others_sum(tmp_path: Path) -> None:
    """Of all that passes through the server, a site can unseal its own shares: one of each secret; it takes three."""
    blind = Blind(tmp_path)
    shared = blind.masked().shared
    assert all(isinstance(said, Masked) for said in shared.values())
    assert BlindRoll(round=0, pledges={s: said.pledge for s, said in shared.items()}).threshold == 3  # type: ignore[attr-defined]
    for said in shared.values():
        assert isinstance(said, Masked)
        sealed = said.sealed.reshape(-1, said.sealed.shape[-1])
        assert len({row.tobytes() for row in sealed}) == len(sealed) == 16
