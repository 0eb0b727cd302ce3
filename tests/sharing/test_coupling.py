"""Coupled answers: the least-squares fit of every site's comparisons, against a literal solver."""

from typing import Any

import numpy as np
import pytest

from mdhfl.methods.mdhfl_plus import MdhflPlus
from mdhfl.sharing.competence import SMALLEST, class_teacher
from mdhfl.sharing.coupling import coupled, coupled_teachings
from mdhfl.sharing.knowledge import Knowledge, Subject


def knowledge_of(site: str, values: Any, competences: Any) -> Knowledge:
    values = np.asarray(values, dtype=np.float32)
    classes = tuple("wxyz"[: values.shape[1]])
    subject = Subject(kind="probabilities", public_digest="0" * 64, public_count=len(values), classes=classes)
    told = None if competences is None else np.asarray(competences, dtype=np.float32)
    return Knowledge(values=values, subject=subject, site=site, round=1, competences=told)


def said(seed: int, *, sites: int = 3, images: int = 4, classes: int = 3) -> dict[str, Knowledge]:
    random = np.random.default_rng(seed)
    return {
        f"s{k}": knowledge_of(
            f"s{k}", random.dirichlet(np.ones(classes), size=images), random.uniform(0.1, 0.9, size=classes).round(2)
        )
        for k in range(sites)
    }


@pytest.mark.parametrize("seed", range(5))
def test_the_teacher_is_the_literal_least_squares_fit(seed: int) -> None:
    """Unknowns of each image: a score a class and an offset a site; one weighted equation a site and class."""
    knowledge = said(seed)
    found = coupled(knowledge, assumed=1.0, power=1.0)
    for image in range(4):
        rows, right = [], []
        for k, one in enumerate(knowledge.values()):
            for c in range(3):
                assert one.competences is not None
                root = (SMALLEST + float(one.competences[c])) ** 0.5
                row = np.zeros(3 + 3)
                row[c], row[3 + k] = root, root
                rows.append(row)
                right.append(root * np.log(one.values[image, c]))
        scores = np.linalg.lstsq(np.array(rows), np.array(right), rcond=None)[0][:3]
        literal = np.exp(scores - scores.max())
        np.testing.assert_allclose(found[image], literal / literal.sum(), rtol=2e-4)


def test_sites_that_know_different_pairs_are_joined_through_the_class_they_share() -> None:
    """One site says w : x = 4 : 1, the other x : y = 2 : 1; together w : x : y = 8 : 2 : 1."""
    first = knowledge_of("a", [[0.8 * 0.9, 0.2 * 0.9, 0.1]], [1, 1, 0])
    second = knowledge_of("b", [[0.1, 0.6, 0.3]], [0, 1, 1])
    found = coupled({"a": first, "b": second}, assumed=1.0, power=1.0)
    np.testing.assert_allclose(found[0], np.array([8, 2, 1]) / 11, atol=0.01)


def test_equal_answers_are_their_own_fit() -> None:
    knowledge = said(0)
    same = {site: knowledge_of(site, knowledge["s0"].values, one.competences) for site, one in knowledge.items()}
    np.testing.assert_allclose(coupled(same, assumed=1.0, power=1.0), knowledge["s0"].values, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("include_own", [True, False])
def test_a_site_learns_from_the_fit_with_or_without_itself(include_own: bool) -> None:
    knowledge = said(1)
    method = MdhflPlus(coupled=True, include_own=include_own)
    lessons = method.combine(knowledge, sites=("s0", "s1", "s2"))
    for site in knowledge:
        others = {name: one for name, one in knowledge.items() if include_own or name != site}
        teacher = class_teacher(lessons[site], own=knowledge[site], site=site, include_own=True)  # type: ignore[arg-type]
        np.testing.assert_allclose(teacher, coupled(others, assumed=1.0, power=1.0), rtol=1e-4)
    assert len({id(lesson) for lesson in lessons.values()}) == (1 if include_own else 3)


def test_certain_and_impossible_answers_stay_finite() -> None:
    knowledge = {site: knowledge_of(site, [[1, 0, 0], [0, 0, 1]], None) for site in ("a", "b")}
    found = coupled_teachings(knowledge, sites=("a",), include_own=True)["a"].values
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(found.argmax(axis=1), [0, 2])
