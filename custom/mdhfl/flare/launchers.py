"""Start a job only if it is one of ours: configuration of the one known form, and nothing beside it.

FLARE reads a job's configuration in several formats, follows includes, fills in variables of the environment and runs
code from `custom`. What a kit's launcher does not start, none of that can reach.
"""

from pathlib import Path

from nvflare.apis.fl_constant import FLContextKey, JobConstants
from nvflare.apis.fl_context import FLContext
from nvflare.apis.job_launcher_spec import JobHandleSpec
from nvflare.app_common.job_launcher.client_process_launcher import ClientProcessJobLauncher
from nvflare.app_common.job_launcher.server_process_launcher import ServerProcessJobLauncher

from mdhfl.files import check_against_schema, read_json

SITE_CONFIG, SERVER_CONFIG = "config/config_fed_client.json", "config/config_fed_server.json"
SIGNATURES = (".__nvfl_sig.json", ".__nvfl_submitter.crt")  # which FLARE adds to each folder
LARGEST_FILE = 2**20  # bytes


class SiteJobs(ClientProcessJobLauncher):
    """FLARE's launcher at a site, for our jobs alone."""

    def launch_job(self, job_meta: dict, fl_ctx: FLContext) -> JobHandleSpec:
        """Start a job in a process of its own. Raises ValueError if it is not one of ours."""
        check_job(_app_of(job_meta, fl_ctx), config=SITE_CONFIG, schema="job_site")
        return super().launch_job(job_meta, fl_ctx)


class ServerJobs(ServerProcessJobLauncher):
    """FLARE's launcher at the server, for our jobs alone."""

    def launch_job(self, job_meta: dict, fl_ctx: FLContext) -> JobHandleSpec:
        """Start a job in a process of its own. Raises ValueError if it is not one of ours."""
        check_job(_app_of(job_meta, fl_ctx), config=SERVER_CONFIG, schema="job_server")
        return super().launch_job(job_meta, fl_ctx)


def check_job(app: Path, *, config: str, schema: str) -> None:
    """Refuse an app that is anything else than one configuration of our form.

    Args:
        app: the folder into which FLARE has unpacked it.
        config: the configuration that counts here, relative to the folder.
        schema: that it must follow.

    Raises:
        ValueError: another file, a file that is too large, or a configuration of another form.
    """
    for path in sorted(app.rglob("*")):
        name = path.relative_to(app).as_posix()
        known = path.is_dir() or name in (SITE_CONFIG, SERVER_CONFIG) or path.name in SIGNATURES
        if path.is_symlink() or not known:
            raise ValueError(
                f"job: expected {SITE_CONFIG} and {SERVER_CONFIG} alone, got {name!r:.100}; a job brings no other "
                "file and no code"
            )
        if path.is_file() and path.stat().st_size > LARGEST_FILE:
            raise ValueError(f"job: {name} has {path.stat().st_size} bytes, more than {LARGEST_FILE}")
    if not (app / config).is_file():
        raise ValueError(f"job: no {config}; export the job again with mdhfl")
    check_against_schema(read_json(app / config), schema=schema, what=f"job: {config}")


def _app_of(job_meta: dict, fl_ctx: FLContext) -> Path:
    workspace = fl_ctx.get_prop(FLContextKey.WORKSPACE_OBJECT)
    return Path(workspace.get_app_dir(job_meta[JobConstants.JOB_ID]))
