"""What a job may do at a site and at the server, as files for the `local` folder of a FLARE startup kit.

FLARE builds whatever class a job names, if the kit's owner allows it. We allow the few that our jobs consist of, by
their full names: everything else of mdhfl, MONAI and FLARE stays out of a job's reach. Before that, the kit's launcher
looks at the job's form (`job_form.py`).
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

SITE_CLASSES = ("mdhfl.flare.executor.SiteExecutor", "mdhfl.flare.filters.OnlyAnswers")
SERVER_CLASSES = (
    "mdhfl.flare.controller.FederationController",
    "nvflare.app_opt.tracking.tb.tb_receiver.TBAnalyticsReceiver",
)
FLARES = "nvflare.app_common.job_launcher"
LAUNCHERS = {  # FLARE's -> ours, which start our jobs alone
    f"{FLARES}.client_process_launcher.ClientProcessJobLauncher": "mdhfl.flare.launchers.SiteLauncher",
    f"{FLARES}.server_process_launcher.ServerProcessJobLauncher": "mdhfl.flare.launchers.ServerLauncher",
}
LOG_STREAMERS = ("SiteLogStreamer", "JobLogStreamer")
ABANDONED_JOBS = {"id": "abandoned_jobs", "path": "mdhfl.flare.abandoned.AbandonedJobs", "args": {}}
FLARES_STORE = "/tmp/nvflare"  # where FLARE's servers keep jobs, all of a machine, until it starts again
STORE = "store"  # in the kit instead
GET_LOG = "get_job_log"  # of the server's process of a job, which the job's result contains anyway
# Whoever administrates may start, stop and look at jobs; nobody may bring code, or read files of a kit.
NOBODY = {"byoc": "none", "shell_commands": "none", "server-predeployed-flwr": "none"}
PERMISSIONS = {
    "project_admin": {
        **dict.fromkeys(("submit_job", "clone_job", "manage_job", "download_job", GET_LOG, "view", "operate"), "any"),
        **NOBODY,
    },
    "org_admin": {
        **{"submit_job": "none", "clone_job": "none", "manage_job": "o:submitter", "download_job": "o:submitter"},
        **{GET_LOG: "o:submitter", "view": "any", "operate": "o:site"},
        **NOBODY,
    },
    "lead": {
        **{"submit_job": "any", "clone_job": "n:submitter", "manage_job": "n:submitter"},
        # "o:site" would let a lead stop the server: FLARE calls both the same organisation
        **{"download_job": "n:submitter", GET_LOG: "n:submitter", "view": "any", "operate": "none"},
        **NOBODY,
    },
    "member": {"view": "any"},
}


def write_policy(local: Path, *, classes: Sequence[str], is_site: bool) -> list[Path]:
    """Write resources.json, authorization.json and, for a site, privacy.json into a kit's `local` folder.

    Args:
        local: the folder; it holds FLARE's resources.json.default.
        classes: that a job may name, by their full names.
        is_site: whether the kit is a site's.

    Returns:
        The paths of the files.

    Raises:
        ValueError: the folder is not that of a startup kit.
    """
    files: dict[str, Any] = {
        "resources.json": resources(local, classes=classes),
        "authorization.json": {"format_version": "1.0", "permissions": PERMISSIONS},
    }
    if is_site:
        files["privacy.json"] = privacy()
    for name, content in files.items():
        (local / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return [local / name for name in files]


def resources(local: Path, *, classes: Sequence[str]) -> dict[str, Any]:
    """Return a kit's resources: FLARE's, with few classes that a job may name, our launchers, no streaming of logs.

    Jobs are kept in the kit.

    Raises:
        ValueError: there is no resources.json.default, it is not JSON, or jobs are not launched as processes.
    """
    path = local / "resources.json.default"
    try:
        text = path.read_text(encoding="utf-8").replace(FLARES_STORE, str((local.parent / STORE).resolve()))
        found: dict[str, Any] = json.loads(text)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{path}: expected the resources of a FLARE startup kit ({error}); give the kit's folder, the one with "
            "`startup` and `local`"
        ) from error
    kept = [one for one in found.get("components", []) if one["path"].rpartition(".")[2] not in LOG_STREAMERS]
    components = [{**one, "path": LAUNCHERS.get(one["path"], one["path"])} for one in kept]
    launchers = {one["path"] for one in components if "launcher" in one["path"]}
    if not launchers or not launchers <= set(LAUNCHERS.values()):
        raise ValueError(
            f"{path}: expected one of FLARE's launchers of processes, {' or '.join(LAUNCHERS)}, got "
            f"{', '.join(sorted(launchers)) or 'none'}; mdhfl starts its jobs with no other"
        )
    if "servers" in found:
        components.append(ABANDONED_JOBS)
    return {
        **found,
        "class_list_enforcement_mode": "enforce",
        "class_allow_list": list(classes),
        "allow_log_streaming": False,
        "components": components,
    }


def privacy() -> dict[str, Any]:
    """Return a site's privacy policy: one scope, in which only answers leave, whatever a job says."""
    only = {"name": "OnlyAnswers", "path": SITE_CLASSES[1], "args": {}}
    scope = {"name": "only-answers", "task_result_filters": [only]}
    return {"scopes": [scope], "default_scope": scope["name"]}
