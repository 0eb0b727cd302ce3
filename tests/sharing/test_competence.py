"""Who may speak about which class: the teacher against the literal mean, class by class."""

import numpy as np
import pytest
from fakes.competences import knowledge_of
from hypothesis import given
from hypothesis import strategies as st

from mdhfl.sharing.competence import SMALLEST, ClassTeaching, class_teacher, class_weighted_sum
from mdhfl.sharing.knowledge import Knowledge


def literal_teacher(shared: dict[str, Knowledge], sites: list[str], power: float, assumed: float) -> list[list[float]]:
    rows = []
    first = next(iter(shared.values()))
    n, classes = first.values.shape
    for i in range(n):
        row = []
        for c in range(classes):
            top = bottom = 0.0
            for site in sites:
                told = shared[site].competences
                a = SMALLEST + (assumed if told is None else float(told[c])) ** power
                top += a * float(shared[site].values[i, c])
                bottom += a
            row.append(top / bottom)
        rows.append([value / sum(row) for value in row])
    return rows


@given(st.integers(0, 10**6), st.booleans(), st.sampled_from([0.0, 1.0, 2.0]))
def test_the_teacher_is_the_literal_class_by_class_mean(seed: int, include_own: bool, power: float) -> None:
    random = np.random.default_rng(seed)
    shared = {
        site: knowledge_of(site, random.dirichlet([0.5] * 4, size=3), random.random(4).round(2)) for site in "abc"
    }
    sites = ["a", "b", "c"] if include_own else ["b", "c"]
    teaching = class_weighted_sum(shared, power=power)
    again = ClassTeaching.from_wire(teaching.to_wire())
    ours = class_teacher(again, own=shared["a"], site="a", include_own=include_own, power=power)
    assert ours is not None
    np.testing.assert_allclose(ours.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(ours, literal_teacher(shared, sites, power, teaching.assumed), rtol=5e-3, atol=5e-4)
    other_order = class_weighted_sum(dict(reversed(shared.items())), power=power)
    np.testing.assert_array_equal(teaching.values, other_order.values)


def test_a_site_that_does_not_know_a_class_does_not_outvote_the_one_that_does() -> None:
    knows = knowledge_of("a", [[0.1, 0.9]], [0.9, 0.9])
    ignorant = {site: knowledge_of(site, [[0.99, 0.01]], [0.9, 0.0]) for site in "bcd"}
    plain = class_teacher(
        class_weighted_sum({"a": knows, **ignorant}, power=0.0), own=None, site="e", include_own=True, power=0.0
    )
    weighted = class_teacher(class_weighted_sum({"a": knows, **ignorant}), own=None, site="e", include_own=True)
    assert plain is not None
    assert weighted is not None
    assert plain[0, 1] < 0.3 < 0.5 < weighted[0, 1]


def test_a_class_that_nobody_vouches_for_and_a_site_that_says_nothing_count_alike() -> None:
    shared = {
        "a": knowledge_of("a", [[0.2, 0.8]], [0.5, 0.0]),
        "b": knowledge_of("b", [[0.6, 0.4]], [0.5, 0.0]),
        "c": knowledge_of("c", [[0.4, 0.6]], None),
    }
    teaching = class_weighted_sum(shared)
    assert teaching.assumed == pytest.approx(0.25)
    teacher = class_teacher(teaching, own=None, site="d", include_own=True)
    assert teacher is not None
    assert np.isfinite(teacher).all()
    alone = {"a": knowledge_of("a", [[0.2, 0.8]], [0.0, 0.0]), "b": knowledge_of("b", [[0.6, 0.4]], [0.0, 0.0])}
    mean = class_teacher(class_weighted_sum(alone), own=None, site="d", include_own=True)
    assert mean is not None
    np.testing.assert_allclose(mean, [[0.4, 0.6]], rtol=1e-5)


def test_a_site_that_has_lost_what_it_shared_is_told_so() -> None:
    shared = {site: knowledge_of(site, [[0.5, 0.5]], [0.5, 0.5]) for site in "ab"}
    teaching = class_weighted_sum(shared)
    with pytest.raises(ValueError, match="site 'a': the teaching holds its knowledge of round 1, but it has kept noth"):
        class_teacher(teaching, own=None, site="a", include_own=False)
    assert class_teacher(class_weighted_sum({"a": shared["a"]}), own=None, site="a", include_own=True) is None
