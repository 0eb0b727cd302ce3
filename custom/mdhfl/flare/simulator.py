"""A run in FLARE's simulator: `python -m mdhfl.flare.simulator runs/a`.

One process per site, so that models stay in memory.
"""

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil

from mdhfl.flare.places import RUN, simulated
from mdhfl.flare.policy import SERVER_CLASSES, SITE_CLASSES
from mdhfl.runs.folder import read_run, server_settings_path
from mdhfl.server.settings import read_server_settings

MOST_SITES = 10  # one process a site; beyond this the simulator's start-up is not reliable
PATIENCE = 10.0  # seconds until killed processes are gone
CHECK_PERIOD = 0.1  # seconds


def check_simulator_can_take(folder: Path, *, sites: int) -> None:
    """Refuse what FLARE's simulator cannot do.

    Raises:
        ValueError: spaces in the path, or too many sites.
    """
    if any(character.isspace() for character in str(folder.resolve())):
        raise ValueError(f"--out: FLARE's simulator takes no spaces in a path, got {str(folder)!r}; give another")
    if sites > MOST_SITES:
        raise ValueError(f"FLARE's simulator takes up to {MOST_SITES} sites here, got {sites}; use --engine inprocess")


def simulate(folder: Path, *, round_timeout: float = 3600.0) -> None:
    """Run a run folder's experiment in the simulator; its workspace is the run's `flare` folder.

    Args:
        folder: as `create_run` wrote it.
        round_timeout: seconds after which a round closes without the sites that have not answered, from 1.

    Raises:
        RuntimeError: the simulator failed; its log says why.
    """
    from nvflare.recipe.sim_env import SimEnv

    from mdhfl.flare.job import FederationRecipe

    folder = folder.resolve()
    trusted = read_server_settings(server_settings_path(folder)).methods
    experiment, _ = read_run(folder, trusted=trusted)
    recipe = FederationRecipe(name="mdhfl", experiment=experiment, round_timeout=round_timeout)
    workspace = folder / "flare"
    _allow_our_classes(workspace / "mdhfl")
    sites = list(experiment.sites)
    with simulated(folder):
        recipe.run(SimEnv(clients=sites, num_threads=len(sites), workspace_root=str(workspace)))


def kill_simulator(process: "subprocess.Popen[bytes]", *, run: Path) -> None:
    """Kill a simulator's process and all that it started: FLARE puts them into sessions of their own.

    Nothing is lost: server and sites keep every finished round on disk.

    Args:
        process: the simulator, which may have died before the others.
        run: the run's folder; its processes name it in their environment, and so are found without their parents.
    """
    deadline, killed = time.monotonic() + PATIENCE, set[psutil.Process]()
    while living := {one for one in killed | _family_of(process) | members_of(run) if _lives(one)}:
        if time.monotonic() > deadline:
            return
        for one in living:
            with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                one.kill()
        killed |= living  # until it is gone, a dying process keeps its locks, but not its environment
        time.sleep(CHECK_PERIOD)


def _family_of(process: "subprocess.Popen[bytes]") -> set[psutil.Process]:
    """Return a process and all that it started; of one that is gone none, since others may have its number."""
    if process.poll() is None:
        with contextlib.suppress(psutil.NoSuchProcess):
            own = psutil.Process(process.pid)
            return {own, *own.children(recursive=True)}
    return set()


def members_of(run: Path) -> set[psutil.Process]:
    """Return the processes that belong to a simulated run, but for this one and those that it comes from."""
    mark, me = str(run.resolve()), psutil.Process()
    found = {one for one in psutil.process_iter(["environ"]) if (one.info["environ"] or {}).get(RUN) == mark}
    return found - {me, *me.parents()}


def _lives(process: psutil.Process) -> bool:
    """Return whether a process is there and has not ended: one that nobody has waited for stays in the list."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.is_running() and bool(process.status() != psutil.STATUS_ZOMBIE)
    return False


def _allow_our_classes(workspace: Path) -> None:
    local = workspace / "local"
    local.mkdir(parents=True, exist_ok=True)
    policy = {"format_version": 2, "class_allow_list": [*SITE_CLASSES, *SERVER_CLASSES]}
    (local / "resources.json").write_text(json.dumps(policy, indent=2), encoding="utf-8")


if __name__ == "__main__":
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    simulate(Path(sys.argv[1]))
