"""FLARE's POC mode in one folder: kits with their policies, server and sites on loopback, and none of it left behind.

FLARE's own `nvflare poc` writes into the user's home, shares a job store and a port with all others of the machine, and
gives up on a start after a while. Here all lies in the folder, and a start takes as long as it takes.
"""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from signal import SIGHUP, SIGTERM

import yaml

from mdhfl.flare.admin import FlareServer
from mdhfl.flare.processes import processes_of, sweep
from mdhfl.flare.project import project
from mdhfl.flare.supervise import NotReached
from mdhfl.runs.signals import ended_by, undisturbed

NAME, SERVER = "poc", "localhost"  # FLARE listens on loopback alone if the server is named so
ADMIN = "admin@poc.example"
CONSOLE = "console.txt"  # in a kit: what its processes print
STARTED_AGAIN = "does not exist"  # in the console: FLARE's script starts a process that has ended
LOOKS, LOOK_PERIOD = 4, 0.25  # seconds between two
CHECK_PERIOD = 1.0  # seconds between two looks at what is starting
LONGEST_START = 1800.0  # seconds: on a machine that is that busy, no job would end

Say = Callable[[str], None]


class PocFailed(RuntimeError):
    """Server or sites did not start, or the job ended without a result."""


@dataclass(frozen=True)
class Kits:
    """The startup kits of a POC system.

    Attributes:
        folder: that holds them.
        sites: their names.
    """

    folder: Path
    sites: tuple[str, ...]

    @property
    def server(self) -> Path:
        """The server's."""
        return self.folder / SERVER

    @property
    def admin(self) -> Path:
        """The administrator's."""
        return self.folder / ADMIN

    @property
    def running(self) -> list[Path]:
        """Those that run processes: the server's, then the sites'."""
        return [self.server, *(self.folder / site for site in self.sites)]


@contextmanager
def own_port() -> Iterator[int]:
    """Give a free TCP port of loopback that no other caller gets meanwhile.

    It is held by a socket that does not listen; a server that may reuse its address, as FLARE's may, can listen on it.
    """
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        yield int(holder.getsockname()[1])


def check_poc_can_take(folder: Path) -> None:
    """Refuse what FLARE's scripts cannot do. Raises ValueError."""
    if any(character.isspace() for character in str(folder.resolve())):
        raise ValueError(f"--out: FLARE's scripts take no spaces in a path, got {str(folder)!r}; give another")


def prepare_kits(folder: Path, *, sites: Sequence[str], port: int) -> Kits:
    """Let FLARE make the kits of a POC system, with a home in the same folder.

    Args:
        folder: of the system; FLARE's workspace is `folder/workspace`.
        sites: their names.
        port: of loopback, for the server.

    Raises:
        ValueError: a site's name, or the folder's path, that FLARE cannot take.
        PocFailed: FLARE could not make them; the message has its last line.
    """
    check_poc_can_take(folder)
    home, workspace = folder / "home", folder / "workspace"
    home.mkdir(parents=True, exist_ok=True)
    lead = ADMIN.replace("admin", "lead")
    asked = project(name=NAME, sites=sites, server=SERVER, port=port, admin=ADMIN, lead=lead)
    (folder / "project.yml").write_text(yaml.safe_dump(asked, sort_keys=False), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "nvflare.cli", "poc", "prepare", "-i", str(folder / "project.yml"), "--force"],
        env={**os.environ, "HOME": str(home), "NVFLARE_POC_WORKSPACE": str(workspace)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        start_new_session=True,  # Ctrl-C is ours to handle
    )
    kits = Kits(folder=workspace / NAME / "prod_00", sites=tuple(sites))
    if done.returncode or not kits.server.is_dir():
        raise PocFailed(f"FLARE made no startup kits: {_last_line(done.stdout + done.stderr)}")
    return kits


@contextmanager
def running(kits: Kits, *, environment: Mapping[str, str] = os.environ) -> Iterator[None]:
    """Start server and sites; at the end, however it comes (also Ctrl-C and SIGTERM), nothing of them runs any more."""
    with ended_by(SIGTERM, SIGHUP):
        try:
            for kit in kits.running:
                _start(kit, environment)
            yield
        finally:
            with undisturbed():
                for kit in kits.running:
                    sweep(kit)


def wait_for_start(kits: Kits, server: FlareServer, *, say: Say) -> None:
    """Return when all sites are connected.

    Args:
        kits: of what is starting.
        server: as the administrator reaches it.
        say: called with who is missing, when that changes.

    Raises:
        PocFailed: a process has ended instead; the message has the last line that it printed.
    """
    deadline, said = time.monotonic() + LONGEST_START, ""
    while True:
        try:
            missing = server.missing(kits.sites)
        except NotReached:
            missing = "the server"
        if not missing:
            return
        for kit in kits.running:
            _check_starts(kit)
        if time.monotonic() > deadline:
            raise PocFailed(f"after {LONGEST_START / 60:.0f} minutes still without {missing}; see {kits.folder}")
        if missing != said:
            say(f"waiting for {missing}")
            said = missing
        time.sleep(CHECK_PERIOD)


def _start(kit: Path, environment: Mapping[str, str]) -> None:
    path = f"{Path(sys.executable).parent}:{environment['PATH']}"  # FLARE's script calls `python3`
    with (kit / CONSOLE).open("ab") as output:
        subprocess.run(
            [str(kit / "startup" / "start.sh")],
            env={**environment, "PATH": path},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            check=True,
        )


def _is_gone(kit: Path) -> bool:
    """Return whether nothing of a kit runs, at several looks: between two programs a process has no name."""
    for _ in range(LOOKS):
        if processes_of(kit):
            return False
        time.sleep(LOOK_PERIOD)
    return True


def _check_starts(kit: Path) -> None:
    """Raise PocFailed if a kit's process has ended: the script would start it again, to no better end."""
    text = (kit / CONSOLE).read_text(encoding="utf-8", errors="replace")
    before, ended, _ = text.partition(STARTED_AGAIN)
    if ended or _is_gone(kit):
        said = before.rpartition("\n")[0] if ended else text
        raise PocFailed(f"{kit.name} did not start: {_last_line(said)}. See {kit / CONSOLE}")


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][-300:] if lines else "it printed nothing"
