"""A job that is submitted again until its experiment has finished: FLARE cannot resume a job, our experiments can."""

import json
import time
import uuid
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

CHECK_PERIOD = 2.0  # seconds between two looks at the job
MOST_LOOKS = 60  # for sites that are not connected, before a job is submitted without them
COMPLETED, ABORTED, LOST = "FINISHED:COMPLETED", "FINISHED:ABORTED", "lost"
PANIC = "FATAL_SYSTEM_ERROR received: "  # in the server's log, before the reason
NEW_ROUND = " round="  # in the controller's line for each site and round

Say = Callable[[str], None]


class NotReached(RuntimeError):
    """The server does not answer just now."""


class Refused(ValueError):
    """The server takes no such job from this administrator."""


class Server(Protocol):
    """What supervision needs of a FLARE server. Each call raises NotReached when there is no answer."""

    def submit(self, job: Path, *, token: str) -> str:
        """Submit a job; return its id, the same for the same token. Raises Refused."""

    def missing(self, sites: Collection[str]) -> str:
        """Return which of these sites are not connected, with commas; nothing if that is not ours to know."""

    def status(self, job_id: str) -> str:
        """Return a job's status; LOST if the server does not know it."""

    def log(self, job_id: str) -> str:
        """Return what the job's process at the server has logged, or nothing."""


@dataclass(frozen=True)
class Ended:
    """How one attempt ended.

    Attributes:
        status: FLARE's, or LOST.
        reason: the last error in the server's log of the job; may be empty.
        progress: whether it has recorded a round.
    """

    status: str
    reason: str
    progress: bool


def supervise(job: Path, *, server: Server, attempts: int, pause: float, say: Say) -> None:
    """Submit a job, follow it, and submit it again until it is completed.

    Args:
        job: its folder; submitting it again continues its experiment.
        server: where.
        attempts: how often to submit it at most.
        pause: seconds before it is submitted again, and between two tries to reach the server.
        say: called with each line that an operator should see.

    Raises:
        Refused: the server takes no such job from this administrator.
        RuntimeError: no result: aborted by an administrator, twice the same error without a new round, or too often.
    """
    before: Ended | None = None
    for attempt in range(1, attempts + 1):
        _gather(sites_of(job), server=server, pause=pause, say=say)
        submit = partial(server.submit, job, token=uuid.uuid4().hex)
        job_id = _patiently(submit, pause=pause, say=say)
        say(f"attempt {attempt} of {attempts}: submitted as job {job_id}")
        ended = _follow(job_id, server=server, pause=pause, say=say)
        say(f"job {job_id}: {ended.status}" + (f": {ended.reason}" if ended.reason else ""))
        if ended.status == COMPLETED:
            return
        if ended.status == ABORTED:
            raise RuntimeError(f"job {job_id} was aborted: it is not submitted again; to continue, supervise it anew")
        if before is not None and ended.reason and ended.reason == before.reason and not ended.progress:
            raise RuntimeError("twice the same error without a new round: submitting again does not mend it")
        before = ended
        if attempt < attempts:
            say(f"next attempt in {pause:g} s; every recorded round is kept")
            time.sleep(pause)
    raise RuntimeError(f"no result after {attempts} attempts; mend what the last error says, then supervise it anew")


def sites_of(job: Path) -> tuple[str, ...]:
    """Return the sites of a job's experiment; none if it is not one of ours."""
    for path in job.rglob("config_fed_server.json"):
        for workflow in json.loads(path.read_text(encoding="utf-8")).get("workflows", ()):
            return tuple(workflow.get("args", {}).get("experiment", {}).get("sites", ()))
    return ()


def _gather(sites: Collection[str], *, server: Server, pause: float, say: Say) -> None:
    """Wait two minutes for sites that are not connected yet, as after a restart of the server: FLARE does not."""
    for look in range(MOST_LOOKS):
        missing = _patiently(partial(server.missing, sites), pause=pause, say=say)
        if not missing:
            return
        if not look:
            say(f"waiting for {missing}")
        time.sleep(CHECK_PERIOD)
    say(f"still missing: {missing}; going on without")


def _follow(job_id: str, *, server: Server, pause: float, say: Say) -> Ended:
    while True:
        status = _patiently(partial(server.status, job_id), pause=pause, say=say)
        if status == LOST or status.startswith("FINISHED"):
            break
        time.sleep(CHECK_PERIOD)
    text = "" if status in (COMPLETED, LOST) else _patiently(partial(server.log, job_id), pause=pause, say=say)
    return Ended(status=status, reason=reason_in(text), progress=NEW_ROUND in text)


def reason_in(log: str) -> str:
    """Return why a job ended, as the log of its process at the server has it; empty if that does not tell."""
    errors = [line for line in log.splitlines() if PANIC in line]
    return errors[-1].partition(PANIC)[2].strip() if errors else ""


def _patiently(ask: Callable[[], str], *, pause: float, say: Say) -> str:
    """Return what a server answers, however long it takes it to come back."""
    waiting = False
    while True:
        try:
            answer = ask()
        except NotReached as error:
            if not waiting:
                say(f"the server does not answer ({error}); waiting for it")
            waiting = True
            time.sleep(pause)
        else:
            if waiting:
                say("the server is back")
            return answer
