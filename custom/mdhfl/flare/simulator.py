"""A run in FLARE's simulator: `python -m mdhfl.flare.simulator runs/a`.

One process per site, so that models stay in memory.
"""

import contextlib
import json
import os
import sys
from pathlib import Path

from mdhfl.flare.places import simulated
from mdhfl.flare.policy import SERVER_CLASSES, SITE_CLASSES
from mdhfl.runs.folder import read_run, server_settings_path
from mdhfl.server.settings import read_server_settings

MOST_SITES = 10  # one process a site; beyond this the simulator's start-up is not reliable


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
        round_timeout: seconds after which a round closes without the sites that have not answered.

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


def kill_simulator(pid: int) -> None:
    """Kill a simulator's process and all that it started: FLARE puts them into sessions of their own.

    Nothing is lost: server and sites keep every finished round on disk.
    """
    import psutil

    try:
        family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    for process in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(family, timeout=10)


def _allow_our_classes(workspace: Path) -> None:
    local = workspace / "local"
    local.mkdir(parents=True, exist_ok=True)
    policy = {"format_version": 2, "class_allow_list": [*SITE_CLASSES, *SERVER_CLASSES]}
    (local / "resources.json").write_text(json.dumps(policy, indent=2), encoding="utf-8")


if __name__ == "__main__":
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    simulate(Path(sys.argv[1]))
