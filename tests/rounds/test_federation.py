"""The loop with a scripted `ask` that drops, delays, corrupts. No torch, no files."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pytest
from fakes.answers import EXPERIMENT, answer_of

from mdhfl.rounds.loop import TooFewSites, federate
from mdhfl.sharing.exchange import Round
from mdhfl.sharing.knowledge import Knowledge
from mdhfl.sharing.messages import Answer, Request


def run(
    spoil: Callable[[str, Answer], Answer | None] = lambda site, answer: answer, *, last: Round | None = None
) -> tuple[list[Request], list[Round]]:
    requests: list[Request] = []
    rounds: list[Round] = []

    def ask(asked: Mapping[str, Request]) -> Mapping[str, Answer]:
        assert len({id(request) for request in asked.values()}) == 1  # one broadcast for all
        request = next(iter(asked.values()))
        requests.append(request)
        spoiled = {site: spoil(site, answer_of(site, request)) for site in EXPERIMENT.sites}
        return {site: answer for site, answer in spoiled.items() if answer is not None}

    federate(EXPERIMENT, ask=ask, record=rounds.append, last=last)
    return requests, rounds


def test_a_run_is_a_warm_up_then_rounds_then_finish() -> None:
    requests, rounds = run()
    assert [(r.action, r.round) for r in requests] == [
        ("warm_up", 0), ("learn", 1), ("learn", 2), ("learn", 3), ("finish", 3),
    ]  # fmt: skip
    assert [r.number for r in rounds] == [0, 1, 2, 3]
    assert requests[0].lesson is None


def test_teaching_is_the_sum_of_the_last_rounds_knowledge() -> None:
    requests, rounds = run()
    for request, before in zip(requests[1:4], rounds, strict=False):
        assert request.lesson is not None
        expected = sum(k.values.astype(np.float64) for k in before.shared.values())
        np.testing.assert_allclose(request.lesson.values, expected, atol=1e-6)
        assert request.lesson.weights == {"a": 1.0, "b": 1.0, "c": 1.0}
        assert request.lesson.round == before.number


def corrupt(change: Callable[[Knowledge], Knowledge]) -> Callable[[str, Answer], Answer | None]:
    def spoil(site: str, answer: Answer) -> Answer | None:
        if site != "b" or answer.round != 2 or not isinstance(answer.shared, Knowledge):
            return answer
        return replace(answer, shared=change(answer.shared))

    return spoil


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (corrupt(lambda k: replace(k, values=np.full_like(k.values, np.nan))), "NaN"),
        (corrupt(lambda k: replace(k, values=k.values[:2])), "of shape (4, 2)"),
        (corrupt(lambda k: replace(k, values=k.values / 2)), "sum to 1"),
        (corrupt(lambda k: replace(k, subject=replace(k.subject, public_digest="1" * 64))), "public set"),
        (corrupt(lambda k: replace(k, subject=replace(k.subject, classes=("y", "x")))), "classes"),
        (lambda site, a: None if (site, a.round) == ("b", 2) else a, "no answer before the round's deadline"),
        (lambda site, a: replace(a, round=1) if (site, a.round) == ("b", 2) else a, "expected round 2, got 1"),
        (lambda site, a: replace(a, site="a") if (site, a.round) == ("b", 2) else a, "signed 'a'"),
        (lambda site, a: replace(a, shared=None) if (site, a.round) == ("b", 2) else a, "got none"),
        (
            lambda s, a: replace(a, confusion=np.eye(3, dtype="u1")) if (s, a.round) == ("b", 2) else a,
            "confusion matrix",
        ),
        (lambda site, a: Answer(site=site, round=2, refusal="disk full") if (site, a.round) == ("b", 2) else a, "disk"),
    ],
)
def test_a_bad_answer_is_refused_by_name_and_the_round_goes_on(
    spoil: Callable[[str, Answer], Answer | None], said: str
) -> None:
    requests, rounds = run(spoil)
    assert said in rounds[2].answers["b"].refusal
    assert set(rounds[2].shared) == {"a", "c"}
    assert requests[3].lesson is not None
    assert set(requests[3].lesson.weights) == {"a", "c"}  # the teaching goes on without it
    assert set(rounds[3].shared) == {"a", "b", "c"}  # and it is asked again


def test_too_few_sites_end_the_run_with_every_reason() -> None:
    def spoil(site: str, answer: Answer) -> Answer | None:
        return answer if site == "a" or answer.round < 2 else replace(answer, refusal=f"{site} is ill")

    with pytest.raises(
        TooFewSites, match=r"round 2: expected usable answers from at least 2 of 3 sites, got 1"
    ) as error:
        run(spoil)
    assert "b is ill" in str(error.value)
    assert "c is ill" in str(error.value)


def test_an_interrupted_run_continues_with_the_same_requests() -> None:
    whole, rounds = run()
    rest, later = run(last=rounds[1])
    assert [r.number for r in later] == [2, 3]
    for expected, got in zip(whole[2:], rest, strict=True):
        assert (expected.action, expected.round) == (got.action, got.round)
        if expected.lesson is not None and got.lesson is not None:
            np.testing.assert_array_equal(expected.lesson.values, got.lesson.values)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"rounds": 0}, "rounds: expected at least 1"),
        ({"min_sites": 4}, "min_sites: expected 1 to 3"),
        ({"sites": ("a", "a")}, "expected different names"),
    ],
)
def test_a_senseless_experiment_is_refused(change: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        replace(EXPERIMENT, **change)
