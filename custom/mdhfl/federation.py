"""The round: teach, align, train, share. No FLARE, no torch, no files: `ask` and `record` are given."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from mdhfl.experiment import Experiment
from mdhfl.knowledge import Knowledge, KnowledgeError, check
from mdhfl.messages import Answer, Request
from mdhfl.methods.method import Method

Ask = Callable[[Request], Mapping[str, Answer]]


class TooFewSites(RuntimeError):
    """Fewer sites than `min_sites` gave a usable answer. Everything before this round is recorded."""


@dataclass(frozen=True, kw_only=True)
class Round:
    """One recorded round.

    Attributes:
        number: 0 for the warm-up, then 1, 2, ...
        request: what every site was asked.
        answers: site name -> its answer, one for each site; `refusal` says why there is no result.
        knowledge: site name -> knowledge that passed the check.
    """

    number: int
    request: Request
    answers: Mapping[str, Answer]
    knowledge: Mapping[str, Knowledge]


Record = Callable[[Round], None]


def federate(experiment: Experiment, *, ask: Ask, record: Record, last: Round | None = None) -> None:
    """Run an experiment, or what is left of it.

    Args:
        experiment: what to run.
        ask: sends a request to every site and returns what came back in time, by site.
        record: keeps a finished round; called once for each, in order.
        last: the last recorded round of an interrupted run.

    Raises:
        TooFewSites: too few usable answers in a round.
    """
    method = experiment.create_method()
    if last is None:
        last = _run_round(experiment, method, experiment.request("warm_up", round_=0), ask=ask)
        record(last)
    for number in range(last.number + 1, experiment.rounds + 1):
        teaching = method.teach(last.knowledge)
        last = _run_round(experiment, method, experiment.request("learn", round_=number, teaching=teaching), ask=ask)
        record(last)
    ask(experiment.request("finish", round_=experiment.rounds))


def _run_round(experiment: Experiment, method: Method, request: Request, *, ask: Ask) -> Round:
    received = ask(request)
    answers = {site: _accept(experiment, method, request, received.get(site), site=site) for site in experiment.sites}
    good = {site: answer for site, answer in answers.items() if not answer.refusal}
    if len(good) < experiment.min_sites:
        reasons = "; ".join(f"{a.site}: {a.refusal}" for a in answers.values() if a.refusal)
        raise TooFewSites(
            f"round {request.round}: expected usable answers from at least {experiment.min_sites} of "
            f"{len(answers)} sites, got {len(good)} ({reasons}). Mend the sites and resume: nothing recorded is lost"
        )
    knowledge = {site: answer.knowledge for site, answer in good.items() if answer.knowledge is not None}
    return Round(number=request.round, request=request, answers=answers, knowledge=knowledge)


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
        if method.shares is not None:
            if answer.knowledge is None:
                raise KnowledgeError(f"answer from site {site!r}: expected {method.shares}, got none")
            check(answer.knowledge, expected=experiment.subject(method.shares), round_=request.round)
        shape = (len(experiment.classes), len(experiment.classes))
        if answer.confusion is None or answer.confusion.shape != shape:
            raise KnowledgeError(f"answer from site {site!r}: expected a confusion matrix of shape {shape}")
    except KnowledgeError as refusal:
        return replace(answer, site=site, round=request.round, knowledge=None, refusal=str(refusal))
    return answer
