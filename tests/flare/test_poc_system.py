"""A POC system's start and end with stand-ins for FLARE's scripts: who is waited for, what is said, what is left."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from mdhfl.flare import poc
from mdhfl.flare.poc import CONSOLE, STARTED_AGAIN, Kits, PocFailed, own_port, prepare_kits, running, wait_for_start
from mdhfl.flare.processes import processes_of
from mdhfl.flare.supervise import NotReached

LOOP = "while true; do sleep 1; done"


@pytest.fixture
def kits(tmp_path: Path) -> Iterator[Kits]:
    found = Kits(folder=tmp_path, sites=("site-1", "site-2"))
    for kit in found.running:
        write_kit(kit, LOOP)
    yield found
    for kit in found.running:
        for one in processes_of(kit):
            one.kill()


def write_kit(kit: Path, script: str) -> None:
    """Write a kit whose start.sh starts sub_start.sh in the background, as FLARE's does."""
    (kit / "startup").mkdir(parents=True, exist_ok=True)
    for name, text in {"start.sh": f"{kit}/startup/sub_start.sh &", "sub_start.sh": script}.items():
        path = kit / "startup" / name
        path.write_text(f"#!/usr/bin/env bash\n{text}\n")
        path.chmod(0o755)


def left(kits: Kits) -> list[psutil.Process]:
    return [one for kit in kits.running for one in processes_of(kit)]


class Answers:
    """A server that says one after another who is missing; None: it does not answer."""

    def __init__(self, *missing: str | None) -> None:
        self.missing_next = list(missing)

    def missing(self, sites: object) -> str:
        found = self.missing_next.pop(0)
        if found is None:
            raise NotReached("not yet")
        return found


def wait(kits: Kits, *missing: str | None) -> list[str]:
    said: list[str] = []
    wait_for_start(kits, Answers(*missing), say=said.append)  # type: ignore[arg-type]
    return said


@pytest.fixture(autouse=True)
def look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poc, "CHECK_PERIOD", 0.05)


@pytest.mark.slow
def test_a_start_is_waited_for_and_each_change_is_said_once(kits: Kits) -> None:
    with running(kits):
        said = wait(kits, None, None, "site-1, site-2", "site-2", "site-2", "")
        assert len(left(kits)) == 3
    assert said == ["waiting for the server", "waiting for site-1, site-2", "waiting for site-2"]
    assert not left(kits)


@pytest.mark.slow
def test_a_kit_whose_program_ends_is_named_with_its_last_line(kits: Kits) -> None:
    """FLARE's script starts it again and again; whoever waits would wait in vain."""
    broken = f"echo 'ImportError: no such thing'; echo 'start fl because process of 7 {STARTED_AGAIN}'; echo more"
    write_kit(kits.folder / "site-2", f"{broken}\n{LOOP}")
    said = r"site-2 did not start: ImportError: no such thing\. See .*console\.txt"
    with pytest.raises(PocFailed, match=said), running(kits):
        wait(kits, *[None] * 200)
    assert not left(kits)


@pytest.mark.slow
def test_a_script_that_gives_up_is_named(kits: Kits) -> None:
    write_kit(kits.server, "echo 'System is in trouble'")
    with pytest.raises(PocFailed, match="localhost did not start: System is in trouble"), running(kits):
        wait(kits, *[None] * 200)
    assert not left(kits)


@pytest.mark.slow
def test_a_start_that_lasts_too_long_ends(kits: Kits, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poc, "LONGEST_START", 0.2)
    with pytest.raises(PocFailed, match="still without site-2"), running(kits):
        wait(kits, *["site-2"] * 200)
    assert not left(kits)


@pytest.mark.slow
def test_a_kit_that_cannot_be_started_leaves_no_other_running(kits: Kits) -> None:
    (kits.folder / "site-2" / "startup" / "start.sh").unlink()
    with pytest.raises(FileNotFoundError), running(kits):
        pass
    assert not left(kits)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_what_was_started_and_a_second_one_does_not_disturb(kits: Kits, number: signal.Signals) -> None:
    code = (
        "import sys, signal, time; from pathlib import Path; from mdhfl.flare.poc import Kits, running\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell's background job would ignore it,
        "signal.signal(signal.SIGHUP, signal.SIG_DFL)\n"  # and one of nohup this
        f"with running(Kits(folder=Path({str(kits.folder)!r}), sites={kits.sites!r})):\n"
        "    print('started', flush=True)\n"
        "    time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        while len(left(kits)) < 3:
            time.sleep(0.05)
        process.send_signal(number)
        time.sleep(0.1)
        process.send_signal(number)
        assert process.wait(timeout=60) != 0
    assert not left(kits)


@pytest.mark.slow
def test_what_a_process_has_started_ends_with_it(kits: Kits) -> None:
    """A program of a site's own bundle, say, whose command line does not name the kit."""
    mark = kits.folder / "child"
    write_kit(kits.folder / "site-1", f"sleep 300 & echo $! > {mark}; wait")
    with running(kits):
        while not mark.exists() or not mark.read_text().strip():
            time.sleep(0.05)
        child = int(mark.read_text())
        assert psutil.pid_exists(child)
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE


def test_two_at_once_have_two_ports_and_a_server_can_listen_on_its_own() -> None:
    with own_port() as one, own_port() as other:
        assert one != other
        with socket.socket() as server:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as FLARE's drivers do
            server.bind(("127.0.0.1", one))
            server.listen()
            with socket.create_connection(("127.0.0.1", one), timeout=5):
                pass
            with own_port() as third:
                assert third not in (one, other)


def test_flare_is_called_with_a_home_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def refuse(command: list[str], **how: Any) -> SimpleNamespace:
        asked.update(how, command=command)
        return SimpleNamespace(returncode=1, stdout="", stderr="no\nsuch luck\n")

    monkeypatch.setattr(poc.subprocess, "run", refuse)
    monkeypatch.setenv("NVFLARE_POC_WORKSPACE", "/the/users/own")
    with pytest.raises(PocFailed, match="FLARE made no startup kits: such luck"):
        prepare_kits(tmp_path / "poc", sites=["a", "b"], port=7)
    assert asked["env"]["HOME"] == str(tmp_path / "poc" / "home")
    assert asked["env"]["NVFLARE_POC_WORKSPACE"] == str(tmp_path / "poc" / "workspace")
    assert os.environ["NVFLARE_POC_WORKSPACE"] == "/the/users/own"


@pytest.mark.parametrize(
    ("folder", "sites", "said"), [("with space", ["a"], "no spaces"), ("poc", ["a.b"], "FLARE takes no such name")]
)
def test_what_flare_cannot_take_is_refused_before_it_is_asked(
    folder: str, sites: list[str], said: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=said):
        prepare_kits(tmp_path / folder, sites=sites, port=7)


@pytest.mark.slow
def test_the_console_of_a_kit_is_kept(kits: Kits) -> None:
    write_kit(kits.server, f"echo hello\n{LOOP}")
    with running(kits):
        while "hello" not in (kits.server / CONSOLE).read_text():
            time.sleep(0.05)
