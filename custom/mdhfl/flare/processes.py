"""The processes that FLARE has started for a startup kit, and their end."""

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

import psutil

MODULES = "nvflare.private.fed.app."  # the programs of a server, a client and their jobs
SCRIPT = "sub_start.sh"  # starts a server or client again whenever it ends
MARKS = ("daemon_pid.fl", "pid.fl", "shutdown.fl", "restart.fl")  # by which the script and FLARE talk to each other
MOST_PASSES = 3  # a script may be starting a process while it is killed
PATIENCE = 10.0  # seconds until a killed process is gone


def processes_of(kit: Path) -> list[psutil.Process]:
    """Return the running processes of a kit: its script, server or client, and their jobs."""
    kit = kit.resolve()
    return [one for one in psutil.process_iter(["cmdline"]) if _belongs(one.info["cmdline"] or (), kit)]


def sweep(kit: Path) -> list[str]:
    """Kill a kit's processes and what they have started, even stopped ones, and remove the marks of FLARE's script.

    Nothing is lost: server and sites keep every finished round on disk.

    Args:
        kit: the folder with `startup` and `local`.

    Returns:
        The kit's processes that were killed, one line each.

    Raises:
        ValueError: the folder is no startup kit.
        RuntimeError: something is still there.
    """
    if not (kit / "startup").is_dir():
        raise ValueError(f"{kit}: expected a FLARE startup kit, got a folder without `startup`")
    lines: list[str] = []
    for _ in range(MOST_PASSES):
        found = processes_of(kit)
        if not found:
            break
        lines += [f"{one.pid} ({' '.join(one.info['cmdline'])[:200]})" for one in _kill(found)]
    if left := processes_of(kit):
        raise RuntimeError(f"{kit}: still running: {', '.join(str(one.pid) for one in left)}; end them as their owner")
    for name in MARKS:
        (kit / name).unlink(missing_ok=True)
    return lines


def _kill(processes: Sequence[psutil.Process]) -> list[psutil.Process]:
    """Kill processes and their families, and wait until they are gone; return those of the given ones that were."""
    # The script first: it would start the others again.
    ordered = sorted(processes, key=lambda one: SCRIPT not in " ".join(one.info["cmdline"]))
    killed = []
    for one in [*ordered, *(child for parent in ordered for child in _children_of(parent))]:
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            one.kill()
            killed.append(one)
    psutil.wait_procs(killed, timeout=PATIENCE)
    return [one for one in ordered if one in killed]


def _children_of(process: psutil.Process) -> list[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.children(recursive=True)
    return []


def _belongs(command: Sequence[str], kit: Path) -> bool:
    """Whether a command is FLARE's for this kit."""
    paths = [Path(os.path.normpath(word)) for word in command if word.startswith("/")]
    if any(path.name == SCRIPT and path.parent.parent.resolve() == kit for path in paths):
        return True
    return any(MODULES in word for word in command) and any(path.resolve() == kit for path in paths)
