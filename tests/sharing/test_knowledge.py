"""Knowledge is checked before any arithmetic, and every refusal names the site, what was expected and what came."""

from dataclasses import replace

import numpy as np
import pytest

from mdhfl.sharing.checks import MessageError
from mdhfl.sharing.knowledge import Knowledge, Subject, check_knowledge, divergence

SUBJECT = Subject(kind="probabilities", public_digest="ab" * 32, public_count=4, classes=("x", "y", "z"))
GOOD = Knowledge(values=np.full((4, 3), 1 / 3, dtype=np.float32), subject=SUBJECT, site="site-2", round=3)


def changed(index: tuple[int, int], value: float) -> np.ndarray:
    values = GOOD.values.copy()
    values[index] = value
    return values


def test_good_knowledge_passes() -> None:
    check_knowledge(GOOD, expected=SUBJECT, number=3)
    check_knowledge(replace(GOOD, values=GOOD.values.astype(np.float16)), expected=SUBJECT, number=3)


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (replace(GOOD, values=changed((1, 1), np.nan)), "NaN or infinity in 1 of 4"),
        (replace(GOOD, values=changed((1, 1), np.inf)), "NaN or infinity"),
        (replace(GOOD, values=GOOD.values[:, :2]), r"expected shape \(4, 3\).*got \(4, 2\).*num_classes=3"),
        (replace(GOOD, values=GOOD.values * 1.1), "sum to 1"),
        (replace(GOOD, values=changed((0, 0), -0.2)), "minimum of -0.2"),
        (replace(GOOD, values=np.ones((4, 3), dtype=int)), "floating-point"),
        (
            replace(GOOD, subject=replace(SUBJECT, public_digest="cd" * 32)),
            "expected public set abababab, got cdcdcdcd",
        ),
        (replace(GOOD, subject=replace(SUBJECT, classes=("y", "x", "z"))), "expected classes"),
        (replace(GOOD, subject=replace(SUBJECT, kind="logits")), "expected probabilities, got logits"),
        (replace(GOOD, round=2), "expected round 3, got round 2"),
    ],
)
def test_bad_knowledge_is_refused_by_name(bad: Knowledge, said: str) -> None:
    with pytest.raises(MessageError, match=said) as refusal:
        check_knowledge(bad, expected=SUBJECT, number=3)
    assert "'site-2'" in str(refusal.value)


def test_logits_need_not_sum_to_one() -> None:
    subject = replace(SUBJECT, kind="logits")
    check_knowledge(replace(GOOD, subject=subject, values=GOOD.values * 50), expected=subject, number=3)


def test_divergence_equals_its_definition() -> None:
    """mean_i sum_c t_ic ln(t_ic / l_ic), pair by pair."""
    random = np.random.default_rng(0)
    teachers, learners = random.dirichlet([1, 2, 3], size=(2, 5)), random.dirichlet([1, 1, 1], size=(3, 5))
    matrix = divergence(teachers, learners)
    for j in range(2):
        for k in range(3):
            expected = np.mean([(t * np.log(t / q)).sum() for t, q in zip(teachers[j], learners[k], strict=True)])
            assert matrix[j, k] == pytest.approx(expected, rel=1e-9)
    np.testing.assert_allclose(np.diag(divergence(teachers, teachers)), 0, atol=1e-12)


def test_divergence_of_certain_answers_is_finite() -> None:
    certain = np.eye(3)[None]
    assert np.isfinite(divergence(certain, np.roll(certain, 1, axis=2))).all()
