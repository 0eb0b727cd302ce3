"""A run folder's experiment as in production, on one machine: kits, server, sites, a job submitted and downloaded."""

import contextlib
import time
import uuid
from pathlib import Path

from mdhfl.files import write_json
from mdhfl.flare import home, places
from mdhfl.flare.admin import FlareServer
from mdhfl.flare.job import export_job
from mdhfl.flare.kits import write_server_kit, write_site_kit
from mdhfl.flare.poc import Kits, PocFailed, Say, own_port, prepare_kits, running, wait_for_start
from mdhfl.flare.supervise import COMPLETED, LOST, NotReached, reason_in
from mdhfl.rounds.experiment import Experiment
from mdhfl.runs.folder import server_settings_path, site_settings_path
from mdhfl.runs.progress import OnStep, pass_on
from mdhfl.server.settings import read_server_settings
from mdhfl.site.settings import read_site_settings

CHECK_PERIOD = 1.0  # seconds between two looks at the job
MOST_SILENCE = 60.0  # seconds that a server of this machine may not answer


def rehearse(
    folder: Path, *, experiment: Experiment, say: Say, watch: contextlib.AbstractContextManager[OnStep]
) -> None:
    """Run a run folder's experiment in FLARE's POC mode; whatever happens, nothing of it runs any more at the end.

    Args:
        folder: as `create_run` wrote it; all that FLARE needs is written into `folder/poc`, the results into `folder`.
        experiment: the folder's.
        say: called with what is being done until the job runs.
        watch: entered when it does; gives what is called with every answer.

    Raises:
        ValueError: FLARE cannot take the folder's path, or a site's name.
        PocFailed: server or sites did not start, or the job ended without a result.
    """
    poc = folder / "poc"
    with own_port() as port:
        say("making the startup kits")
        kits = prepare_kits(poc, sites=experiment.sites, port=port)
        _equip(kits, folder)
        say(f"starting the server (port {port} of this machine) and {len(kits.sites)} sites")
        with running(kits), contextlib.closing(FlareServer(kits.admin)) as server:
            wait_for_start(kits, server, say=say)
            job = export_job(experiment, name="mdhfl", out=poc / "jobs")
            job_id = server.submit(job, token=uuid.uuid4().hex)
            say(f"submitted as job {job_id}")
            with watch as on_step:
                status = _follow(job_id, server, places.results(kits.server, experiment=experiment.id), on_step)
            if status != COMPLETED:
                reason = reason_in(server.log(job_id)) or f"see {kits.server / 'log.txt'}"
                raise PocFailed(f"the job ended as {status}: {reason}")
            home.bring(server.download(job_id, to=poc / "downloads"), to=folder)


def _equip(kits: Kits, folder: Path) -> None:
    """Write policies into the kits, and the settings that the run's folder holds for its sites and its server."""
    write_server_kit(kits.server)
    settings = read_server_settings(server_settings_path(folder))
    write_json(places.server_settings(kits.server), settings.to_json())
    for site in kits.sites:
        write_site_kit(kits.folder / site, read_site_settings(site_settings_path(folder, site)))


def _follow(job_id: str, server: FlareServer, results: Path, on_step: OnStep) -> str:
    """Return how a job ended."""
    seen, heard = 0, time.monotonic()
    while True:
        try:
            status, heard = server.status(job_id), time.monotonic()
        except NotReached as error:
            if time.monotonic() - heard > MOST_SILENCE:
                raise PocFailed(f"the server does not answer any more: {error}") from error
            status = ""
        seen = pass_on(results, seen, on_step)
        if status == LOST or status.startswith("FINISHED"):
            return status
        time.sleep(CHECK_PERIOD)
