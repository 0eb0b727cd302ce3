"""One case: a mutated message, where it goes, and what must not come of it. Anything but a refusal is a fault."""

import json
import random
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from nvflare.apis.dxo import DXO, DataKind, from_shareable
from nvflare.apis.shareable import Shareable

from fuzz.mutations import mutated
from fuzz.real import RealSite
from fuzz.scripted import CLASSES, SCRIPTS, PaperLearner, Script
from mdhfl.flare.controller import read_answer
from mdhfl.learning.training import TrainingDiverged
from mdhfl.methods import create
from mdhfl.server.results import Results
from mdhfl.server.rows import rows_of, summary_of
from mdhfl.sharing.messages import Answer, Request
from mdhfl.sharing.packing import pack
from mdhfl.sharing.records import tagged
from mdhfl.site.requests import check_request

WRITTEN_EVERY = 200  # answers: the results are written, read again and summarised
REAL_EVERY = 100  # cases: a request and a peer's message for a real site


class Fault(AssertionError):
    """What must not come of a message."""


def answer_case(script: Script, number: int, random: random.Random) -> str:
    """Let a server take a mutated answer, write down its round, and teach of it."""
    requests = [r for r in script.asked if r.action not in ("merge", "commit", "reveal")]
    request = random.choice(requests)
    if script.is_blind and random.random() < 0.7:
        return _between_case(script, request, random)
    wire = mutated(script.honest("site-1", request).to_wire(), random=random)
    finished, lessons = script.exchange(request, read_answer(_sent(wire), request, site="site-1"))
    for site in ("site-2", "site-3"):
        _expect(not finished.answers[site].refusal, f"{site} is refused for what site-1 said")
    rows = rows_of(finished)
    _strict([rows, summary_of(rows, experiment={}, sites=script.experiment.sites, last_round=1)])
    pack({site: tagged(shared) for site, shared in finished.shared.items()})
    if number % WRITTEN_EVERY == 0 and request.round == 0:
        _written(script, finished)
    for site, lesson in lessons.items():
        if site == "site-2" and request.action != "adopt":
            _taught(script, script.experiment.request("learn", number=request.round + 1, lesson=lesson))
    return "refused" if finished.answers["site-1"].refusal else "accepted"


def _between_case(script: Script, request: Request, random: random.Random) -> str:
    """Let a server take mutated numbers or shares of a blind sum: the sum is made of whoever sent what can be used."""
    action = random.choice(("commit", "reveal"))

    def spoil(asked: Request, answer: Answer) -> Answer:
        if asked.action != action:
            return answer
        return read_answer(_sent(mutated(answer.to_wire(), random=random)), asked, site="site-1")

    finished, lessons = script.exchange(request, between=spoil)
    _strict(rows_of(finished))
    if not lessons:
        return "accepted, nothing to learn"
    _expect(set(lessons) == set(script.sites), "a site has no sum for what site-1 said")
    learned = _taught(script, script.experiment.request("learn", number=request.round + 1, lesson=lessons["site-2"]))
    if "site-1" not in lessons["site-2"].sites or action == "reveal":  # type: ignore[attr-defined]
        _expect(learned, "the sum of honest sites is not used")
        return "refused" if action == "commit" else "accepted"
    return "accepted" if learned else "accepted, nothing to learn"


def _written(script: Script, finished: Any) -> None:
    folder = Path(tempfile.mkdtemp(prefix="mdhfl-fuzz-"))
    try:
        results = Results(folder, experiment=script.experiment)
        _expect(results.resume() is None, "an empty folder holds a round")
        results.record(finished)
        results.close()
        again = results.resume()
        _expect(again is not None and set(again.shared) == set(finished.shared), "a round is not read as written")
        results.summarise(engine="inprocess", federation="fuzz")
        results.close()
        for path in folder.glob("*.json*"):
            for text in path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]:
                json.loads(text, parse_constant=_no_constant)
    finally:
        shutil.rmtree(folder)


def _taught(script: Script, request: Request) -> bool:
    """An honest site must be able to learn what was made of a spoilt answer that was accepted."""
    try:
        return _learn(script, request)
    except (ValueError, TrainingDiverged) as error:
        raise Fault(f"an honest site refuses what it is taught: {error}") from error


def request_case(script: Script, number: int, random: random.Random) -> str:
    """Let a site take a mutated request as far as its training."""
    wire = mutated(random.choice(script.asked).to_wire(), random=random)
    try:
        request = Request.from_wire(from_shareable(_sent(wire)).data)
        return "accepted" if _learn(script, request) else "accepted, nothing to learn"
    except TrainingDiverged:
        return "refused: diverges"
    except ValueError:
        return "refused"


def _learn(script: Script, request: Request) -> bool:
    method = create(request.method, request.parameters)
    check_request(request, method)
    own = script.experiment.subject
    if (request.subject.classes, request.subject.public_count) != (CLASSES, own.public_count):
        raise ValueError("another public set")
    if (request.subject.kind, request.subject.views) != (own.kind, own.views):
        raise ValueError("the state of another method")
    learner = PaperLearner(script, request)
    if script.is_blind and request.action in ("commit", "reveal"):
        return bool(method.draw(learner))  # type: ignore[arg-type]
    if request.lesson is not None:
        method.learn(request.lesson, learner)  # type: ignore[arg-type]
    return learner.learned


@cache
def real_site() -> RealSite:
    """Return the one real site, opened at its first use."""
    return RealSite()


def case(seed: int, number: int) -> tuple[str, str]:
    """Do one case; return its kind and its outcome. Raises whatever must not be raised."""
    own = random.Random(f"{seed}/{number}")
    if number % REAL_EVERY == 0:
        return "a real site, request", real_site().asked(own)
    if number % REAL_EVERY == 1:
        return "a real site, peer", real_site().hear(own)
    script = SCRIPTS[number % len(SCRIPTS)]
    kind: tuple[str, Callable[[Script, int, random.Random], str]] = (
        ("answer", answer_case) if own.random() < 0.6 else ("request", request_case)
    )
    with np.errstate(all="ignore"):
        return f"{script.name}, {kind[0]}", kind[1](script, number, own)


def _sent(wire: Any) -> Shareable:
    return DXO(data_kind=DataKind.APP_DEFINED, data=wire).to_shareable()


def _strict(values: Any) -> None:
    json.dumps(values, allow_nan=False)


def _no_constant(name: str) -> None:
    raise Fault(f"{name} is written as JSON")


def _expect(holds: bool, what: str) -> None:
    if not holds:
        raise Fault(what)
