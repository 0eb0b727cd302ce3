"""The round: teach, align, train, share. No FLARE, no torch, no files: `ask` and `record` are given."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from mdhfl.methods.method import Desk, Method, Shared
from mdhfl.rounds.experiment import Experiment
from mdhfl.rounds.leaders import member_of, merge_by_a_leader
from mdhfl.sharing.knowledge import KnowledgeError, check
from mdhfl.sharing.messages import Action, Answer, Lesson, Request
from mdhfl.sharing.weights import check_weights

Ask = Callable[[Mapping[str, Request]], Mapping[str, Answer]]


class TooFewSites(RuntimeError):
    """Fewer sites than `min_sites` gave a usable answer. Everything before this round is recorded."""


@dataclass(frozen=True, kw_only=True)
class Round:
    """One recorded round.

    Attributes:
        number: 0 for the warm-up, then 1, 2, ...
        requests: site name -> what it was asked.
        answers: site name -> its answer, one for each site; `refusal` says why there is no result.
        shared: site name -> the knowledge or weights that passed the check.
    """

    number: int
    requests: Mapping[str, Request]
    answers: Mapping[str, Answer]
    shared: Mapping[str, Shared]


Record = Callable[[Round], None]


def federate(
    experiment: Experiment, *, ask: Ask, record: Record, last: Round | None = None, desk: Desk | None = None
) -> None:
    """Run an experiment, or what is left of it.

    Args:
        experiment: what to run.
        ask: sends each site its request and returns what came back in time, by site.
        record: keeps a finished round; called once for each, in order.
        last: the last recorded round of an interrupted run.
        desk: of a server that trains.

    Raises:
        TooFewSites: too few usable answers in a round.
        ValueError: the method cannot teach what was shared.
    """
    method = experiment.create_method()
    if last is None:
        everybody = dict.fromkeys(experiment.sites, experiment.request("warm_up", round_=0))
        last = _run_round(experiment, method, everybody, number=0, ask=ask)
        record(last)
    for number in range(last.number + 1, experiment.last_round + 1):
        lessons = _teach(experiment, method, last, ask=ask, desk=desk)
        last = _run_round(experiment, method, _requests(experiment, number, lessons), number=number, ask=ask)
        record(last)
    ask(dict.fromkeys(experiment.sites, experiment.request("finish", round_=experiment.last_round)))


def _teach(experiment: Experiment, method: Method, last: Round, *, ask: Ask, desk: Desk | None) -> Mapping[str, Lesson]:
    if method.led:
        good = {site: answer for site, answer in last.answers.items() if not answer.refusal}
        return merge_by_a_leader(experiment, round_=last.number, answers=good, ask=ask)
    return method.teach(last.shared, sites=experiment.sites, desk=desk)


def _requests(experiment: Experiment, number: int, lessons: Mapping[str, Lesson]) -> dict[str, Request]:
    """Return each site's request; sites with the same lesson get the same object, which is sent once."""
    action: Action = "learn" if number <= experiment.rounds else "adopt"
    made: dict[int, Request] = {}
    for lesson in (*lessons.values(), None):
        made.setdefault(id(lesson), experiment.request(action, round_=number, lesson=lesson))
    return {site: made[id(lessons.get(site))] for site in experiment.sites}


def _run_round(
    experiment: Experiment, method: Method, requests: Mapping[str, Request], *, number: int, ask: Ask
) -> Round:
    received = ask(requests)
    answers = {site: _accept(experiment, method, requests[site], received.get(site), site=site) for site in requests}
    good = {site: answer for site, answer in answers.items() if not answer.refusal}
    if len(good) < experiment.min_sites:
        reasons = "; ".join(f"{a.site}: {a.refusal}" for a in answers.values() if a.refusal)
        raise TooFewSites(
            f"round {number}: expected usable answers from at least {experiment.min_sites} of "
            f"{len(answers)} sites, got {len(good)} ({reasons}). Mend the sites and resume: nothing recorded is lost"
        )
    shared = {site: answer.knowledge or answer.weights for site, answer in good.items()}
    return Round(
        number=number,
        requests=requests,
        answers=answers,
        shared={site: said for site, said in shared.items() if said is not None},
    )


def _accept(experiment: Experiment, method: Method, request: Request, answer: Answer | None, *, site: str) -> Answer:
    """Return the answer if it can be used, else an answer that says why not."""
    if answer is None:
        return Answer(site=site, round=request.round, refusal="no answer before the round's deadline")
    if answer.refusal:
        return answer
    try:
        if answer.site != site:
            raise KnowledgeError(f"expected an answer from site {site!r}, got one signed {answer.site!r}")
        if answer.round != request.round:
            raise KnowledgeError(f"answer from site {site!r}: expected round {request.round}, got {answer.round}")
        _check_shared(method, request, answer)
        shape = (len(experiment.classes), len(experiment.classes))
        if answer.confusion is None or answer.confusion.shape != shape:
            raise KnowledgeError(f"answer from site {site!r}: expected a confusion matrix of shape {shape}")
    except KnowledgeError as refusal:
        return replace(answer, site=site, round=request.round, knowledge=None, weights=None, refusal=str(refusal))
    return answer


def _check_shared(method: Method, request: Request, answer: Answer) -> None:
    """Check that an answer shares what its method says, and nothing else."""
    if answer.weights is not None and method.shares != "weights":
        raise KnowledgeError(f"answer from site {answer.site!r}: holds weights, which this method does not share")
    if method.shares in ("probabilities", "logits"):
        if answer.knowledge is None:
            raise KnowledgeError(f"answer from site {answer.site!r}: expected {method.shares}, got none")
        check(answer.knowledge, expected=request.subject, round_=request.round)
    elif method.shares == "weights" and request.action != "adopt":
        if answer.weights is None:
            raise KnowledgeError(f"answer from site {answer.site!r}: expected weights, got none")
        check_weights(answer.weights, round_=request.round)
    elif method.led:
        member_of(answer)
