"""Robust teachers in the methods, and trust in sites: what each site learns from, against literal loops."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from mdhfl.methods import METHODS, KnowledgeMethod, create, parameters_of
from mdhfl.methods.mdhfl_attention import MdhflAttention
from mdhfl.methods.mdhfl_plus import MdhflPlus
from mdhfl.sharing.competence import SMALLEST, ClassTeaching, class_teacher
from mdhfl.sharing.knowledge import Knowledge, Subject
from mdhfl.sharing.teaching import Teaching

SITES = ("a", "b", "c", "d")
BUNDLES = {site: "shufflenet_v2" for site in SITES}


def shared(method: KnowledgeMethod, *, sites: tuple[str, ...] = SITES) -> dict[str, Knowledge]:
    subject = Subject(
        kind=method.knowledge_kind, public_digest="0" * 64, public_count=7, classes=("x", "y", "z"), views=1
    )
    found = {}
    for site in sites:
        random = np.random.default_rng(ord(site))
        rows = random.dirichlet(np.ones(3), size=7)
        values = np.log(rows) if method.knowledge_kind == "logits" else rows
        found[site] = Knowledge(
            values=values.astype(np.float32),
            subject=subject,
            site=site,
            round=2,
            confidence=random.uniform(0.1, 1),
            competences=random.uniform(0.1, 0.9, 3).round(2).astype(np.float32),
        )
    return found


def learned(method: KnowledgeMethod, lesson: Any, said: Mapping[str, Knowledge], site: str) -> Any:
    own = said.get(site)
    if isinstance(lesson, ClassTeaching):
        include = method.include_own or method.coupled  # type: ignore[attr-defined]
        lesson.check(kind="probabilities", shape=(7, 3))
        return class_teacher(lesson, own=own, site=site, include_own=include)
    assert isinstance(lesson, Teaching)
    lesson.check(kind=method.knowledge_kind, shape=(7, 3))
    return method.teacher(lesson, own=own, site=site)


def rows(values: Any) -> Any:
    return values / values.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("name", ["mdhfl", "rhfl"])
def test_mdhfl_learns_from_the_median_of_the_others(name: str) -> None:
    method = create(name, {**parameters_of(METHODS[name]()), "robust": "median"})
    assert isinstance(method, KnowledgeMethod)
    said = shared(method)
    lessons = method.combine(said, sites=SITES)
    weights = method.teacher_weights(said)
    for site in SITES:
        others = [said[other].values.astype(float) for other in SITES if other != site]
        literal = rows(np.median(others, axis=0))
        found = learned(method, lessons[site], said, site)
        if name == "rhfl":  # its rows sum to the others' weights, which are nearly alike
            total = sum(weight for other, weight in weights.items() if other != site)
            np.testing.assert_allclose(found.sum(axis=1), total, atol=1e-5)
            continue
        np.testing.assert_allclose(found, literal, atol=1e-6)


def test_fedmd_takes_the_median_of_everybodys_logits_in_one_matrix() -> None:
    method = METHODS["fedmd"](robust="median")  # type: ignore[call-arg]
    assert isinstance(method, KnowledgeMethod)
    said = shared(method)
    lessons = method.combine(said, sites=(*SITES, "absent"))
    assert len({id(lesson) for lesson in lessons.values()}) == 1
    literal = np.median([knowledge.values for knowledge in said.values()], axis=0)
    np.testing.assert_allclose(learned(method, lessons["a"], said, "a"), literal, atol=1e-5)


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("rule", ["trimmed", "median", "filter"])
def test_mdhfl_plus_weighs_each_class_by_the_competences(own: bool, rule: str) -> None:
    from mdhfl.sharing.robust import robust_mean

    method = MdhflPlus(robust=rule, include_own=own, cut=0.3)
    said = shared(method)
    lessons = method.combine(said, sites=SITES)
    for site in SITES:
        heard = [knowledge for name, knowledge in said.items() if own or name != site]
        weights = np.stack([SMALLEST + k.competences.astype(float) for k in heard])  # type: ignore[union-attr]
        literal = robust_mean(np.stack([k.values for k in heard]), weights=weights, rule=rule, cut=0.3)
        np.testing.assert_allclose(learned(method, lessons[site], said, site), rows(literal), atol=1e-5)
    assert (len({id(lesson) for lesson in lessons.values()}) == 1) is own


def test_a_site_that_shared_nothing_learns_from_all_and_the_only_one_that_did_from_nobody() -> None:
    method = METHODS["mdhfl"](robust="median")  # type: ignore[call-arg]
    assert isinstance(method, KnowledgeMethod)
    said = shared(method, sites=("a", "b", "c"))
    lesson = method.combine(said, sites=SITES)["d"]
    literal = rows(np.median([knowledge.values for knowledge in said.values()], axis=0))
    np.testing.assert_allclose(learned(method, lesson, said, "d"), literal, atol=1e-6)
    assert "a" not in method.combine({"a": said["a"]}, sites=("a", "b"))


def test_too_few_sites_are_refused_before_anything_starts() -> None:
    for method, fewest in ((METHODS["mdhfl"](robust="median"), 4), (MdhflPlus(robust="trimmed"), 3)):  # type: ignore[call-arg]
        method.check_federation(bundles=dict(list(BUNDLES.items())[:fewest]), validation=0)
        with pytest.raises(ValueError, match=f"robust=.*expected at least {fewest} sites.*got {fewest - 1}"):
            method.check_federation(bundles=dict(list(BUNDLES.items())[: fewest - 1]), validation=0)
    MdhflPlus().check_federation(bundles={"a": "resnet10"}, validation=0)


def test_what_is_no_mean_takes_no_robust_one() -> None:
    with pytest.raises(ValueError, match="attention is a weighting of its own"):
        MdhflAttention(robust="median")
    with pytest.raises(ValueError, match="a fit is no mean"):
        MdhflPlus(coupled=True, robust="filter")
    with pytest.raises(ValueError, match="robust: expected one of mean, trimmed, median, filter, got 'krum'"):
        MdhflPlus(robust="krum")


@pytest.mark.parametrize("changes", [{}, {"include_own": False}, {"robust": "trimmed"}, {"coupled": True}])
def test_trust_multiplies_a_sites_competences(changes: dict[str, Any]) -> None:
    """A site of a tenth of the trust counts like one of a tenth of the weight; one of almost none is not heard."""
    method = MdhflPlus(**changes)
    said = shared(method)
    lessons = method.combine(said, sites=SITES, trust={"d": 1e-9})
    without = method.combine({site: k for site, k in said.items() if site != "d"}, sites=SITES)
    for site in "abc":
        found = learned(method, lessons[site], said, site)
        np.testing.assert_allclose(found, learned(method, without[site], said, site), atol=2e-3)
    if not changes:
        half = method.combine(said, sites=SITES, trust={"d": 0.5})["a"]
        weights = [(SMALLEST + said[s].competences.astype(float)) * (0.5 if s == "d" else 1) for s in SITES]  # type: ignore[union-attr]
        literal = sum(w * said[s].values for w, s in zip(weights, SITES, strict=True)) / sum(weights)
        np.testing.assert_allclose(learned(method, half, said, "a"), rows(literal), atol=1e-5)


@pytest.mark.parametrize("name", ["mdhfl", "fedmd", "mdhfl_geometric", "mdhfl_attention", "rhfl"])
def test_trust_multiplies_a_sites_weight(name: str) -> None:
    method = METHODS[name]()
    assert isinstance(method, KnowledgeMethod)
    said = shared(method)
    lessons = method.combine(said, sites=SITES, trust={"d": 1e-9})
    without = method.combine({site: k for site, k in said.items() if site != "d"}, sites=SITES)
    for site in "abc":
        found, literal = (rows_of(learned(method, each[site], said, site), name) for each in (lessons, without))
        np.testing.assert_allclose(found, literal, atol=0.02 if name == "rhfl" else 1e-4)


def rows_of(values: Any, name: str) -> Any:
    return rows(values) if name == "rhfl" else values
