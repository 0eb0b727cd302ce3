"""Blind sums of knowledge: seconds and bytes per site and round, beside the plain message; and the teacher's error."""

import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from mdhfl.methods.mdhfl import Mdhfl
from mdhfl.sharing.exchange import Round
from mdhfl.sharing.knowledge import Knowledge, Subject
from mdhfl.sharing.masked import BlindTeaching
from mdhfl.sharing.messages import Action, Answer, Request
from mdhfl.sharing.packing import payload_bytes
from mdhfl.sharing.records import Lesson
from mdhfl.site.blinding import Blinding

EXPERIMENT = "blind"


class _Sites:
    """All sites of one blind sum, as a server sees them; it counts what the sites take, send and receive."""

    experiment = EXPERIMENT

    def __init__(self, folder: Path, *, count: int, images: int, classes: int) -> None:
        self.method = Mdhfl(blind=True)
        self.names = tuple(f"site-{i:03d}" for i in range(count))
        subject = Subject(
            kind="probabilities",
            public_digest="0" * 64,
            public_count=images,
            classes=tuple(str(c) for c in range(classes)),
        )
        random = np.random.default_rng(0)
        self.subject, self.knowledge = subject, {}
        for site in self.names:
            values = random.dirichlet(np.full(classes, 0.3), size=images).astype(np.float32)
            self.knowledge[site] = Knowledge(values=values, subject=subject, site=site, round=0)
        self.parts = {
            site: Blinding(
                site=site, experiment=EXPERIMENT, folder=folder / site / EXPERIMENT, minimum=2, partners={}, note=print
            )
            for site in self.names
        }
        self.seconds = self.up = self.down = 0.0

    def request(self, action: Action, lesson: Lesson | None = None, *, number: int = 0) -> Request:
        """Return what the server asks."""
        how: dict[str, Any] = {"parameters": {}, "seed": 0, "subject": self.subject, "version": ""}
        return Request(action=action, experiment=EXPERIMENT, round=number, method="mdhfl", lesson=lesson, **how)

    def ask(self, sites: Iterable[str], action: Action, lesson: Lesson) -> Mapping[str, Answer]:
        """Let the sites answer between two rounds."""
        request, answers = self.request(action, lesson), {}
        for site in sites:
            self.down += payload_bytes(request)
            start = time.perf_counter()
            learner: Any = self.learner(site, request)
            answer = Answer(site=site, round=0, shared=self.method.draw(learner))
            self.seconds += time.perf_counter() - start
            self.up += payload_bytes(answer) - payload_bytes(Answer(site=site, round=0))
            answers[site] = answer
        return answers

    def learner(self, site: str, request: Request) -> Any:
        """Return what the method needs to know of a site."""
        last = Answer(site=site, round=0, shared=self.knowledge[site])
        return SimpleNamespace(site=site, request=request, last=last, blinding=lambda: self.parts[site])


def measure(
    folder: Path, *, sites: tuple[int, ...] = (4, 10, 50), images: int = 5000, classes: int = 13
) -> list[dict[str, Any]]:
    """Let P sites make one blind sum.

    Returns:
        Per P: seconds of a site (pledge, masks, help, reading) and of the server; megabytes that a site sends and
        receives, beside those of plain knowledge; the largest error of a teacher.
    """
    return [_measured(folder / str(count), count=count, images=images, classes=classes) for count in sites]


def _measured(folder: Path, *, count: int, images: int, classes: int) -> dict[str, Any]:
    there = _Sites(folder, count=count, images=images, classes=classes)
    start = time.perf_counter()
    pledges = {site: there.parts[site].pledge(there.knowledge[site]) for site in there.names}
    there.seconds += time.perf_counter() - start
    there.up += sum(payload_bytes(pledge) for pledge in pledges.values())
    answers = {site: Answer(site=site, round=0, shared=pledge) for site, pledge in pledges.items()}
    requests = dict.fromkeys(there.names, there.request("warm_up"))
    server: Any = there
    start, before = time.perf_counter(), there.seconds
    masked = there.method.complete(Round(number=0, requests=requests, answers=answers, shared=pledges), server)
    lesson = there.method.teach(masked, server)[there.names[0]]
    at_server = time.perf_counter() - start - (there.seconds - before)
    request, plain = there.request("learn", lesson, number=1), there.request("learn", number=1)
    start = time.perf_counter()
    read: Any = there.method.unveiled(lesson, there.learner(there.names[0], request))
    reading = time.perf_counter() - start
    assert isinstance(lesson, BlindTeaching)
    expected: Any = Mdhfl().combine(there.knowledge, sites=there.names)[there.names[0]]
    own, name = there.knowledge[there.names[0]], there.names[0]
    teachers = [there.method.teacher(one, own=own, site=name) for one in (read, expected)]
    error = np.abs(np.subtract(*(np.asarray(teacher, dtype=np.float64) for teacher in teachers))).max()
    received = payload_bytes(request) - payload_bytes(plain)
    return {
        "sites": count,
        "site s": round(there.seconds / count + reading, 2),
        "server s": round(at_server, 2),
        "up MB": round(there.up / count / 1e6, 2),
        "down MB": round((there.down / count + received) / 1e6, 2),
        "plain up MB": round(payload_bytes(own) / 1e6, 2),
        "plain down MB": round(payload_bytes(expected) / 1e6, 2),
        "largest error of a teacher": f"{error:.0e}",
    }
