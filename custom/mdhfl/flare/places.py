"""Where server and sites find their settings and keep results: places that no job can name.

In a startup kit they lie in `local`, which belongs to the kit's owner. A simulated run has them in its own folder, and
says so through the environment of the processes that it starts; a job cannot set that.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mdhfl.files import plain_name
from mdhfl.runs.folder import server_settings_path, site_settings_path
from mdhfl.server.hosting import FILE as HOSTED
from mdhfl.server.tracking import FILE
from mdhfl.sharing.reasons import Refusal
from mdhfl.site.settings import SiteSettings, read_site_settings

RUN = "MDHFL_RUN"  # environment variable: the folder of the simulated run that this process belongs to


def site_settings(workspace: Path, *, site: str) -> Path:
    """Return the path of a site's site.json."""
    return site_settings_path(Path(os.environ[RUN]), site) if RUN in os.environ else workspace / "local" / "site.json"


def own_settings(fl_ctx: Any) -> SiteSettings:
    """Read the settings of the site whose process this is.

    Raises:
        Refusal: there are none, they are wrong, or they are another site's.
    """
    name = fl_ctx.get_identity_name()
    path = site_settings(Path(fl_ctx.get_engine().get_workspace().get_root_dir()), site=name)
    try:
        settings = read_site_settings(path)
    except (ValueError, OSError) as error:
        raise Refusal("settings", str(error)) from error
    if settings.site != name:
        raise Refusal("settings", f"{path}: expected the settings of site {name!r}, got those of {settings.site!r}")
    return settings


def server_settings(workspace: Path) -> Path:
    """Return the path of the server's server.json, which need not exist."""
    return server_settings_path(_own_folder(workspace))


def tracking(workspace: Path) -> Path:
    """Return the path of the server's tracking.json, which need not exist."""
    return _own_folder(workspace) / FILE


def hosting(workspace: Path) -> Path:
    """Return the path of the server's hosted.json, which need not exist."""
    return _own_folder(workspace) / HOSTED


def _own_folder(workspace: Path) -> Path:
    """Return the folder of what the server's operator decides: of a simulated run, or `local` of the kit."""
    return Path(os.environ[RUN]) if RUN in os.environ else workspace / "local"


def results(workspace: Path, *, experiment: str) -> Path:
    """Return the server's folder for an experiment's results; it outlives the job, whose own folder FLARE deletes.

    Raises:
        ValueError: the experiment's id is not a plain name; a job must not choose a folder at the server.
    """
    name = plain_name(experiment, what="experiment")
    return Path(os.environ[RUN]) if RUN in os.environ else workspace / "experiments" / name


def download(workspace: Any, *, job: str) -> Path | None:
    """Return the folder in which results go home with a job; None in a simulated run, whose folder has them anyway.

    Args:
        workspace: FLARE's, of the server.
        job: FLARE's id of the job.
    """
    return None if RUN in os.environ else Path(workspace.get_run_dir(job)) / "mdhfl"


@contextmanager
def simulated(run: Path) -> Iterator[None]:
    """Let every process that is started meanwhile belong to a simulated run."""
    before = os.environ.get(RUN)
    os.environ[RUN] = str(run)
    try:
        yield
    finally:
        if before is None:
            del os.environ[RUN]
        else:
            os.environ[RUN] = before
