"""The round: teach, align, train, share. No FLARE, no torch, no files: `ask` and `record` are given."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from mdhfl.methods.method import Trainer
from mdhfl.rounds.experiment import Experiment
from mdhfl.sharing.checks import MessageError
from mdhfl.sharing.exchange import Ask, Round
from mdhfl.sharing.messages import Action, Answer, Request
from mdhfl.sharing.records import Lesson

Record = Callable[[Round], None]
OpenTrainer = Callable[[], Trainer]


class TooFewSites(RuntimeError):
    """Fewer sites than `min_sites` gave a usable answer. Everything before this round is recorded."""


@dataclass(frozen=True, kw_only=True)
class _Server:
    """What a method may use between two rounds, see `methods.method.Server`."""

    setup: Experiment
    send: Ask
    number: int
    open_trainer: OpenTrainer

    @property
    def experiment(self) -> str:
        return self.setup.id

    @property
    def sites(self) -> tuple[str, ...]:
        return self.setup.sites

    def trainer(self) -> Trainer:
        return self.open_trainer()

    def ask(self, sites: Iterable[str], action: Action, lesson: Lesson) -> Mapping[str, Answer]:
        return self.send(dict.fromkeys(sites, self.setup.request(action, number=self.number, lesson=lesson)))


def no_trainer() -> Trainer:
    """Refuse: for a server that does not train."""
    raise ValueError("this method trains at the server: expected its settings (server.json), got none")


def federate(
    experiment: Experiment,
    *,
    ask: Ask,
    record: Record,
    last: Round | None = None,
    open_trainer: OpenTrainer = no_trainer,
) -> None:
    """Run an experiment, or what is left of it.

    Args:
        experiment: what to run.
        ask: sends each site its request and returns what came back in time, by site.
        record: keeps a finished round; called once for each, in order.
        last: the last recorded round of an interrupted run.
        open_trainer: gives what the server trains with, to a method whose server does.

    Raises:
        TooFewSites: too few usable answers in a round.
        ValueError: the method cannot teach what was shared.
    """
    if last is None:
        last = _run_round(experiment, dict.fromkeys(experiment.sites, experiment.request("warm_up", number=0)), ask=ask)
        record(last)
    for number in range(last.number + 1, experiment.last_round + 1):
        server = _Server(setup=experiment, send=ask, number=last.number, open_trainer=open_trainer)
        lessons = experiment.method.teach(last, server)
        last = _run_round(experiment, _requests(experiment, number, lessons), ask=ask)
        record(last)
    ask(dict.fromkeys(experiment.sites, experiment.request("finish", number=experiment.last_round)))


def _requests(experiment: Experiment, number: int, lessons: Mapping[str, Lesson]) -> dict[str, Request]:
    """Return each site's request; sites with the same lesson get the same object, which is sent once."""
    action: Action = "learn" if number <= experiment.rounds else "adopt"
    made: dict[int, Request] = {}
    for lesson in (*lessons.values(), None):
        made.setdefault(id(lesson), experiment.request(action, number=number, lesson=lesson))
    return {site: made[id(lessons.get(site))] for site in experiment.sites}


def _run_round(experiment: Experiment, requests: Mapping[str, Request], *, ask: Ask) -> Round:
    received = ask(requests)
    number = next(iter(requests.values())).round
    answers = {site: _accept(experiment, requests[site], received.get(site), site=site) for site in requests}
    good = {site: answer for site, answer in answers.items() if not answer.refusal}
    if len(good) < experiment.min_sites:
        reasons = "; ".join(f"{a.site}: {a.refusal}" for a in answers.values() if a.refusal)
        raise TooFewSites(
            f"round {number}: expected usable answers from at least {experiment.min_sites} of "
            f"{len(answers)} sites, got {len(good)} ({reasons}). Fix the sites, then resume: nothing recorded is lost"
        )
    shared = {site: answer.shared for site, answer in good.items() if answer.shared is not None}
    return Round(number=number, requests=requests, answers=answers, shared=shared)


def _accept(experiment: Experiment, request: Request, answer: Answer | None, *, site: str) -> Answer:
    """Return the answer if it can be used, else an answer that says why not."""
    if answer is None:
        return Answer(site=site, round=request.round, refusal="no answer before the round's deadline")
    if answer.refusal:
        return answer
    try:
        _check(experiment, request, answer, site=site)
    except MessageError as refusal:
        return answer.refused(str(refusal), site=site, round=request.round)
    return answer


def _check(experiment: Experiment, request: Request, answer: Answer, *, site: str) -> None:
    """Check what every answer must be, and then what its method makes of it. Raises MessageError."""
    if answer.site != site:
        raise MessageError(f"expected an answer from site {site!r}, got one signed {answer.site!r}")
    if answer.round != request.round:
        raise MessageError(f"answer from site {site!r}: expected round {request.round}, got {answer.round}")
    experiment.method.check(answer, request)
    shape = (len(experiment.classes), len(experiment.classes))
    if answer.confusion is None or answer.confusion.shape != shape:
        raise MessageError(f"answer from site {site!r}: expected a confusion matrix of shape {shape}")
    if answer.validation is None or answer.about is None:
        raise MessageError(f"answer from site {site!r}: expected its validation scores and what it is about, got none")
