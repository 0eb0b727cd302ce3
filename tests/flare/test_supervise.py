"""What supervision does with each end of a job, with a server that answers as the test says."""

import json
from collections.abc import Collection, Sequence
from pathlib import Path

import pytest

from mdhfl.flare import supervise as module
from mdhfl.flare.supervise import ABORTED, COMPLETED, LOST, PANIC, NotReached, Refused, supervise

FAILED = "FINISHED:EXECUTION_EXCEPTION"
NEW_ROUND = "FederationController - INFO - round=1 site=a seconds=3\n"


class FakeServer:
    """Each attempt ends as given; while a job runs, it says RUNNING once."""

    def __init__(self, ends: Sequence[str], *, logs: Sequence[str] = (), silent: int = 0) -> None:
        self.ends, self.logs = list(ends), list(logs) or [""] * len(ends)
        self.silent = silent
        self.sites: tuple[str, ...] = ()
        self.absent: list[str] = []
        self.tokens: list[str] = []
        self.looked = 0

    def submit(self, job: Path, *, token: str) -> str:
        self._listen()
        assert token not in self.tokens
        self.tokens.append(token)
        self.looked = 0
        return f"j{len(self.tokens)}"

    def missing(self, sites: Collection[str]) -> str:
        assert tuple(sites) == self.sites
        return self.absent.pop(0) if self.absent else ""

    def status(self, job_id: str) -> str:
        self._listen()
        assert job_id == f"j{len(self.tokens)}"
        self.looked += 1
        return "RUNNING" if self.looked == 1 else self.ends[len(self.tokens) - 1]

    def log(self, job_id: str) -> str:
        return self.logs[len(self.tokens) - 1]

    def _listen(self) -> None:
        if self.silent:
            self.silent -= 1
            raise NotReached("NoConnection: cannot connect to server")


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.time, "sleep", lambda seconds: None)


def said(server: FakeServer, *, attempts: int = 5) -> list[str]:
    lines: list[str] = []
    supervise(Path("job"), server=server, attempts=attempts, pause=1.0, say=lines.append)
    return lines


def panic(reason: str) -> str:
    return f"ServerRunner - ERROR - Aborting current RUN due to {PANIC}{reason}\n"


def test_a_job_that_completes_is_submitted_once() -> None:
    server = FakeServer([COMPLETED])
    assert said(server) == ["attempt 1 of 5: submitted as job j1", f"job j1: {COMPLETED}"]


@pytest.mark.parametrize("end", [FAILED, "FINISHED:ABANDONED", "FINISHED:ABNORMAL", LOST])
def test_a_job_that_ends_without_a_result_is_submitted_again(end: str) -> None:
    server = FakeServer([end, COMPLETED])
    lines = said(server)
    assert len(server.tokens) == 2
    assert lines[1:3] == [f"job j1: {end}", "next attempt in 1 s; every recorded round is kept"]


def test_a_server_that_does_not_answer_is_waited_for() -> None:
    lines = said(FakeServer([COMPLETED], silent=3))
    assert lines[:2] == [
        "the server does not answer (NoConnection: cannot connect to server); waiting for it",
        "the server is back",
    ]


@pytest.mark.parametrize(("looks", "nevertheless"), [(3, False), (1000, True)])
def test_sites_are_waited_for_but_not_for_ever(looks: int, nevertheless: bool, tmp_path: Path) -> None:
    """After a restart of the server they come back one by one, and FLARE starts a job without those that are late."""
    config = {"workflows": [{"args": {"experiment": {"sites": ["a", "b"]}}}]}
    (tmp_path / "config_fed_server.json").write_text(json.dumps(config))
    server = FakeServer([COMPLETED])
    server.sites, server.absent = ("a", "b"), ["b"] * looks
    lines: list[str] = []
    supervise(tmp_path, server=server, attempts=1, pause=1.0, say=lines.append)
    assert lines[0] == "waiting for b"
    assert ("still missing: b; going on without" in lines) == nevertheless
    assert len(server.tokens) == 1


def test_the_same_error_twice_without_a_new_round_is_final() -> None:
    server = FakeServer([FAILED] * 5, logs=[panic("the lock is held")] * 5)
    with pytest.raises(RuntimeError, match="does not mend it"):
        said(server)
    assert len(server.tokens) == 2


def test_an_error_after_new_rounds_is_not_final() -> None:
    server = FakeServer([FAILED, FAILED, FAILED, COMPLETED], logs=[NEW_ROUND + panic("too few sites")] * 4)
    lines = said(server)
    assert len(server.tokens) == 4
    assert f"job j1: {FAILED}: too few sites" in lines


def test_it_gives_up_after_so_many_attempts() -> None:
    server = FakeServer([FAILED] * 3)
    with pytest.raises(RuntimeError, match="no result after 3 attempts"):
        said(server, attempts=3)
    assert len(server.tokens) == 3


def test_an_administrators_abort_is_respected() -> None:
    server = FakeServer([ABORTED, COMPLETED])
    with pytest.raises(RuntimeError, match="aborted"):
        said(server)
    assert len(server.tokens) == 1


def test_a_refusal_of_the_server_is_final() -> None:
    class Refusing(FakeServer):
        def submit(self, job: Path, *, token: str) -> str:
            raise Refused("the server refuses it: not authorized")

    with pytest.raises(Refused, match="not authorized"):
        said(Refusing([]))
