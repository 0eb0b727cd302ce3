"""One site's answer, finite and absurd, or in another's name: a refusal of that site, and a bounded share."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes.answers import ABOUT, EXPERIMENT, answer_of

from mdhfl.methods import Method
from mdhfl.methods.fedavg import FedAvg
from mdhfl.methods.fedmd import FedMd
from mdhfl.methods.mdhfl_plus import MdhflPlus
from mdhfl.methods.rhfl import Rhfl
from mdhfl.rounds.experiment import Experiment
from mdhfl.rounds.loop import TooFewSites, federate
from mdhfl.server.results import Results
from mdhfl.sharing.accounts import Control, Cost, Losses, Validation
from mdhfl.sharing.competence import check_competences
from mdhfl.sharing.exchange import Round
from mdhfl.sharing.knowledge import Knowledge
from mdhfl.sharing.messages import Answer, Request
from mdhfl.sharing.weights import Merged, Weights, mean_of, misfits

VALIDATION = Validation(accuracy=0.5, macro_f1=0.5, balanced_accuracy=0.5, ece=0.1)
Change = Callable[[Answer], Answer]


def weights_of(site: str, number: int, values: Any, **other: Any) -> Weights:
    said = {"layout": "0" * 64, "bundle": "net", "images": 5, **other}
    return Weights(values=np.asarray(values, dtype=np.float32), site=site, round=number, **said)


def spoilt(
    change: Change, *, method: Method | None = None, sites: tuple[str, ...] = ("a", "b", "c"), min_sites: int = 1
) -> tuple[list[Round], list[Request]]:
    """Run an experiment of two rounds in which site b changes its first answer."""
    method = method or EXPERIMENT.method
    experiment = replace(EXPERIMENT, method=method, rounds=2, sites=sites, min_sites=min_sites,
                         training_images=dict.fromkeys(sites, 5))  # fmt: skip
    rounds: list[Round] = []
    requests: list[Request] = []

    def ask(asked: Mapping[str, Request]) -> Mapping[str, Answer]:
        requests.extend(asked.values())
        answers = {site: _honest(experiment, site, request) for site, request in asked.items()}
        return {s: change(a) if (s, a.round) == ("b", 0) else a for s, a in answers.items()}

    federate(experiment, ask=ask, record=rounds.append)
    return rounds, requests


def _honest(experiment: Experiment, site: str, request: Request) -> Answer:
    answer = answer_of(site, request)
    if experiment.method.answers_with is Weights:
        shared = None if request.action == "adopt" else weights_of(site, request.round, [1, 2, ord(site)])
        return replace(answer, shared=shared)
    return answer


def with_shared(**changes: Any) -> Change:
    return lambda answer: replace(answer, shared=replace(answer.shared, **changes))  # type: ignore[type-var]


def with_about(**changes: Any) -> Change:
    return lambda answer: replace(answer, about=replace(ABOUT, **changes))


def filled(value: float) -> Change:
    def change(answer: Answer) -> Answer:
        assert isinstance(answer.shared, Knowledge | Weights)
        return replace(answer, shared=replace(answer.shared, values=np.full_like(answer.shared.values, value)))

    return change


CONTROL = Control(
    validation=VALIDATION, confusion=np.eye(3, dtype=np.uint8), test_ece=0.1, difference=0.0, low=0.0, high=0.0
)
ABSURD: dict[str, tuple[Change, Method | None]] = {
    "another's name": (lambda a: replace(a, site="a"), None),
    "another's refusal": (lambda a: Answer(site="a", round=7, refusal="ill"), None),
    "another round": (lambda a: replace(a, round=1), None),
    "logits of 1e38": (filled(1e38), FedMd()),
    "logits of 101": (filled(101), FedMd()),
    "weights of 1e20": (filled(1e20), FedAvg()),
    "weights of 3e38": (filled(3e38), FedAvg()),
    "another layout": (with_shared(layout="1" * 64), FedAvg()),
    "another length": (with_shared(values=np.ones(4, np.float32)), FedAvg()),
    "more images than in about": (with_shared(images=6), FedAvg()),
    "10^18 images": (with_about(training_images=10**18), None),
    "more images than the card": (with_about(training_images=6), None),
    "minus one image": (with_about(training_images=-1), None),
    "10^18 parameters": (with_about(parameters=10**18), None),
    "a class of nobody": (with_about(missing_classes=("z",)), None),
    "merged by nobody": (with_about(merged_by="z"), None),
    "confidence of 1e300": (with_shared(confidence=1e300), Rhfl()),
    "confidence below 0": (with_shared(confidence=-1.0), Rhfl()),
    "competences above 1": (with_shared(competences=np.array([2, 0], np.float32)), MdhflPlus(views=1)),
    "competences of NaN": (with_shared(competences=np.array([np.nan, 0], np.float32)), MdhflPlus(views=1)),
    "competences of 1000 images": (with_shared(competences=np.array([0.99, 0], np.float32)), MdhflPlus(views=1)),
    "seconds of 1e300": (lambda a: replace(a, cost=Cost(seconds={"train": 1e300})), None),
    "an infinite loss": (lambda a: replace(a, losses=Losses(train=float("inf"))), None),
    "a loss of 1e300": (lambda a: replace(a, losses=Losses(train=1e300)), None),
    "accuracy of NaN": (lambda a: replace(a, validation=replace(VALIDATION, accuracy=float("nan"))), None),
    "10^19 test images": (lambda a: replace(a, confusion=np.full((2, 2), 2**63, np.uint64)), None),
    "three classes": (lambda a: replace(a, confusion=np.eye(3, dtype=np.uint8)), None),
    "a twin of three classes": (lambda a: replace(a, control=CONTROL), None),
    "a list": (lambda a: replace(a, losses=["x"]), None),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("name", ABSURD)
def test_an_absurd_answer_gets_its_site_refused_and_is_not_written(name: str, tmp_path: Path) -> None:
    change, method = ABSURD[name]
    rounds, requests = spoilt(change, method=method)
    refused = rounds[0].answers["b"]
    assert refused.refusal
    assert (refused.site, refused.round, refused.shared) == ("b", 0, None)
    assert not any(rounds[0].answers[site].refusal for site in ("a", "c"))
    assert not any(answer.refusal for later in rounds[1:] for answer in later.answers.values())  # it is asked again
    for request in requests:
        values = getattr(request.lesson, "values", np.zeros(1))
        assert np.isfinite(values).all()
        assert np.abs(values).max() < 1000
    experiment = replace(EXPERIMENT, method=method or EXPERIMENT.method, rounds=2)
    results = Results(tmp_path, experiment=experiment)
    assert results.resume() is None
    for finished in rounds:
        results.record(finished)
    results.close()
    for line in (tmp_path / "results.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=lambda constant: pytest.fail(constant))
    assert results.resume() is not None


@pytest.mark.parametrize("field", ["layout", "values"])
def test_where_no_majority_can_tell_who_is_right_all_are_refused_and_the_run_says_so(field: str) -> None:
    other = {"layout": "1" * 64, "values": np.ones(4, np.float32)}
    with pytest.raises(
        TooFewSites, match=r"(?s)a: weights from site 'a': expected .*b: weights from site 'b': expected"
    ):
        spoilt(with_shared(**{field: other[field]}), method=FedAvg(), sites=("a", "b"))


def test_grouped_models_differ_in_layout_and_none_is_refused() -> None:
    rounds, _ = spoilt(with_shared(layout="1" * 64), method=FedAvg(grouped=True))
    assert not any(answer.refusal for answer in rounds[0].answers.values())
    shared = {"a": weights_of("a", 0, [1]), "b": weights_of("b", 0, [1], layout="1" * 64)}
    assert misfits(shared, one_layout=False) == {}


@pytest.mark.parametrize("factor", [11.0, 1e4])
def test_a_model_counts_in_a_mean_as_if_ten_times_as_long_as_the_median_at_most(factor: float) -> None:
    ordinary = np.array([3.0, 4.0])
    shared = {site: weights_of(site, 0, ordinary) for site in "abc"}
    shared["d"] = weights_of("d", 0, ordinary * factor)
    np.testing.assert_allclose(mean_of(shared).values, (3 * ordinary + 10 * ordinary) / 4, rtol=1e-6)


def test_the_mean_of_models_of_ordinary_length_is_fedavgs_to_the_last_bit() -> None:
    random = np.random.default_rng(0)
    shared = {s: weights_of(s, 0, random.normal(0, k + 1, 20), images=k + 1) for k, s in enumerate("abcd")}
    total = np.zeros(20)
    for site in "abcd":
        total += shared[site].images * shared[site].values.astype(np.float64)
    np.testing.assert_array_equal(mean_of(shared).values, (total / 10).astype(np.float32))


@pytest.mark.parametrize(
    ("agreed", "images"), [([0, 0, 0], 0), ([5, 3, 1], 9), ([2500, 0, 0], 2500), ([40, 40, 20], 100), ([1, 1, 1], 3)]
)
def test_competences_that_a_site_can_have_pass(agreed: list[int], images: int) -> None:
    counts = np.array(agreed)
    check_competences(np.round(counts / (counts + 10), 2).astype(np.float32), images=images)


def test_no_confidence_makes_a_teacher_count_more_than_the_equation_lets_it() -> None:
    method = Rhfl()
    honest, _ = spoilt(with_shared(confidence=0.5), method=method)
    greedy, _ = spoilt(with_shared(confidence=1e6), method=method)
    for rounds in (honest, greedy):
        shared = {site: said for site, said in rounds[0].shared.items() if isinstance(said, Knowledge)}
        weights = method.teacher_weights(shared)
        assert weights["b"] / weights["a"] <= np.exp(method.confidence_weight) + 1e-9


def test_merged_weights_beyond_the_limit_are_no_lesson() -> None:
    for values in ([np.nan], [np.inf], [2e6]):
        with pytest.raises(ValueError, match="merged model"):
            Merged(values=np.array(values, np.float32), layout="0" * 64, round=0).check(
                kind="probabilities", shape=(1, 1)
            )
