"""The round: teach, align, train, share. No FLARE, no torch, no files: `ask` and `record` are given."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from mdhfl.methods.parties import Trainer
from mdhfl.rounds.experiment import Experiment
from mdhfl.sharing.checks import MessageError
from mdhfl.sharing.exchange import Ask, Round
from mdhfl.sharing.messages import Action, Answer, Request
from mdhfl.sharing.records import Lesson
from mdhfl.sharing.watch import NOBODY, Looks, decided, watched

Record = Callable[[Round], None]
OpenTrainer = Callable[[], Trainer]
Decide = Callable[[], Mapping[str, str]]  # site -> the operator's decision, see `sharing.watch.DECISIONS`
LATE = "no answer before the round's deadline"  # of a site that was not heard in time


class TooFewSites(RuntimeError):
    """Fewer sites than `min_sites` gave a usable answer. Everything before this round is recorded."""


@dataclass(frozen=True, kw_only=True)
class _Server:
    """What a method may use between two rounds, see `methods.method.Server`."""

    setup: Experiment
    send: Ask
    number: int
    open_trainer: OpenTrainer
    decide: Decide = dict

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
    decide: Decide = dict,
) -> dict[str, str]:
    """Run an experiment, or what is left of it.

    Args:
        experiment: what to run.
        ask: sends each site its request and returns what came back in time, by site.
        record: keeps a finished round; called once for each, in order.
        last: the last recorded round of an interrupted run.
        open_trainer: gives what the server trains with, to a method whose server does.
        decide: gives the operator's decisions about sites that stand out, asked before every lesson.

    Returns:
        Site -> why it could not finish, though the experiment did.

    Raises:
        TooFewSites: too few usable answers in a round, or too few sites that finished.
        ValueError: the method cannot teach what was shared.
    """
    number = 0 if last is None else last.number
    server = _Server(setup=experiment, send=ask, number=number, open_trainer=open_trainer, decide=decide)
    if last is None:
        last = _run_round(server, dict.fromkeys(experiment.sites, experiment.request("warm_up", number=0)))
        record(last)
    for number in range(last.number + 1, experiment.last_round + 1):
        server = replace(server, number=last.number)
        last = replace(last, looks=decided(last.looks, decide()))
        lessons = experiment.method.teach(last, server)
        last = _run_round(server, _requests(experiment, number, lessons, answered=last.good), last.looks)
        record(last)
    return _finish(experiment, last, ask=ask)


def _finish(experiment: Experiment, last: Round, *, ask: Ask) -> dict[str, str]:
    """Let every site keep its last model; return who could not, and why."""
    request = experiment.request("finish", number=experiment.last_round, answered=last.good)
    received = ask(dict.fromkeys(experiment.sites, request))
    silent = Answer(site="", round=request.round, refusal="no answer to the request to finish")
    refusals = {site: received.get(site, silent).refusal for site in experiment.sites}
    failed = {site: refusal for site, refusal in refusals.items() if refusal}
    _check_enough(experiment, failed, what="the end", asked=len(experiment.sites))
    return failed


def _requests(
    experiment: Experiment, number: int, lessons: Mapping[str, Lesson], *, answered: Collection[str]
) -> dict[str, Request]:
    """Return each site's request; sites with the same lesson get the same object, which is sent once."""
    action: Action = "learn" if number <= experiment.rounds else "adopt"
    made: dict[int, Request] = {}
    for lesson in (*lessons.values(), None):
        request = experiment.request(action, number=number, lesson=lesson, answered=answered)
        made.setdefault(id(lesson), request)
    return {site: made[id(lessons.get(site))] for site in experiment.sites}


def _run_round(server: _Server, requests: Mapping[str, Request], before: Looks = NOBODY) -> Round:
    experiment, received = server.setup, server.send(requests)
    number = next(iter(requests.values())).round
    answers = {site: _accept(server, requests[site], received.get(site), site=site) for site in requests}
    shared = {site: a.shared for site, a in answers.items() if not a.refusal and a.shared is not None}
    for site, reason in experiment.method.check_together(shared).items():
        answers[site] = answers[site].refused(reason)
        del shared[site]
    failed = {site: answer.refusal for site, answer in answers.items() if answer.refusal}
    _check_enough(experiment, failed, what=f"round {number}", asked=len(answers))
    looks = watched(shared, before=before, sites=experiment.sites, number=number, mode=experiment.watch)
    looks = decided(looks, server.decide())
    finished = Round(number=number, requests=requests, answers=answers, shared=shared, looks=looks)
    return experiment.method.complete(finished, replace(server, number=number))


def _check_enough(experiment: Experiment, failed: Mapping[str, str], *, what: str, asked: int) -> None:
    if asked - len(failed) < experiment.min_sites:
        reasons = "; ".join(f"{site}: {reason}" for site, reason in failed.items())
        raise TooFewSites(
            f"{what}: expected usable answers from at least {experiment.min_sites} of {asked} sites, got "
            f"{asked - len(failed)} ({reasons}). Fix the sites, then resume: nothing recorded is lost"
        )


def _accept(server: _Server, request: Request, answer: Answer | None, *, site: str) -> Answer:
    """Return the answer if it can be used, else one in the site's name that says why not, and nothing else."""
    refused = Answer(site=site, round=request.round)
    if answer is None:
        return refused.refused(LATE)
    if answer.refusal:
        return refused.refused(answer.refusal)
    try:
        answer = Answer.from_wire(answer.to_wire())  # whoever carried it here, every field is checked
        _check(server.setup, request, answer, site=site)
    except Exception as reason:  # a method from elsewhere may stumble over what it should have refused
        return refused.refused(str(reason) or type(reason).__name__)
    try:
        server.setup.method.try_out(answer, server)
    except MessageError as reason:
        return refused.refused(str(reason))
    return answer


def _check(experiment: Experiment, request: Request, answer: Answer, *, site: str) -> None:
    """Check what every answer must be, and then what its method makes of it. Raises MessageError."""
    who = f"answer from site {site!r}"
    if answer.site != site:
        raise MessageError(f"expected an answer from site {site!r}, got one signed {answer.site!r}")
    if answer.round != request.round:
        raise MessageError(f"{who}: expected round {request.round}, got {answer.round}")
    experiment.method.check(answer, request)
    shape = (len(experiment.classes), len(experiment.classes))
    for whose, part in (("", answer), (" of its twin", answer.control)):
        if part is not None and part.confusion is not None and part.confusion.shape != shape:
            raise MessageError(f"{who}: expected a confusion matrix of shape {shape}{whose}")
    if answer.about is None:
        raise MessageError(f"{who}: expected what it is about, got none")
    most, said = experiment.training_images[site], answer.about.training_images
    if said > most:
        raise MessageError(
            f"{who}: expected at most {most} training images, as in the federation's card, got {said}; make the "
            "experiment with the card of the data that the site has"
        )
    if not set(answer.about.missing_classes) <= set(experiment.classes):
        raise MessageError(f"{who}: expected missing classes among those of the experiment, got others")
    if answer.about.merged_by not in ("", *experiment.sites):
        raise MessageError(f"{who}: expected a site of the experiment to have merged its model, got another")
