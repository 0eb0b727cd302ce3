"""The processes that FLARE has started for a startup kit, and their end."""

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

import psutil

MODULES = "nvflare.private.fed.app."  # the programs of a server, a client and their jobs
SCRIPT = "sub_start.sh"  # starts a server or client again whenever it ends
MARKS = ("daemon_pid.fl", "pid.fl", "shutdown.fl", "restart.fl")  # by which the script and FLARE talk to each other
PATIENCE = 10.0  # seconds until a killed process is gone


def processes_of(kit: Path) -> list[psutil.Process]:
    """Return the running processes of a kit: its script, server or client, and their jobs."""
    kit = kit.resolve()
    return [one for one in psutil.process_iter(["cmdline"]) if _belongs(one.info["cmdline"] or (), kit)]


def sweep(kit: Path) -> list[str]:
    """Kill all processes of a kit, even stopped ones, and remove the marks that would hinder its next start.

    Nothing is lost: server and sites keep every finished round on disk.

    Args:
        kit: the folder with `startup` and `local`.

    Returns:
        What was killed, one line each.

    Raises:
        ValueError: the folder is no startup kit.
        RuntimeError: something is still there.
    """
    if not (kit / "startup").is_dir():
        raise ValueError(f"{kit}: expected a FLARE startup kit, got a folder without `startup`")
    killed = []
    # The script first: it would start the others again.
    for one in sorted(processes_of(kit), key=lambda one: SCRIPT not in " ".join(one.info["cmdline"])):
        with contextlib.suppress(psutil.NoSuchProcess):
            one.kill()
            killed.append(one)
    lines = [f"{one.pid} ({' '.join(one.info['cmdline'])[:200]})" for one in killed]
    _, alive = psutil.wait_procs(killed, timeout=PATIENCE)
    left = [*alive, *processes_of(kit)]
    if left:
        raise RuntimeError(f"{kit}: still running: {', '.join(str(one.pid) for one in left)}; end them as their owner")
    for name in MARKS:
        (kit / name).unlink(missing_ok=True)
    return lines


def _belongs(command: Sequence[str], kit: Path) -> bool:
    """Whether a command is FLARE's for this kit."""
    paths = [Path(os.path.normpath(word)) for word in command if word.startswith("/")]
    if any(path.name == SCRIPT and path.parent.parent.resolve() == kit for path in paths):
        return True
    return any(MODULES in word for word in command) and any(path.resolve() == kit for path in paths)
