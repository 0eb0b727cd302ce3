"""An experiment as a FLARE job: one app for all sites, with nothing in it but configuration.

The code is installed at the sites, whose policy allows its classes by name (`policy.py`); a job ships none.
"""

import json
import warnings
from pathlib import Path
from typing import get_args

with warnings.catch_warnings():  # FLARE warns that --export is its own word; here it means the same
    warnings.simplefilter("ignore")
    from nvflare.apis.analytix import ANALYTIC_EVENT_TYPE
    from nvflare.app_opt.tracking.tb.tb_receiver import TBAnalyticsReceiver
    from nvflare.job_config.api import FedJob
    from nvflare.job_config.defs import FilterType
    from nvflare.recipe.spec import Recipe as FlareRecipe

from mdhfl.files import read_json
from mdhfl.flare.controller import FederationController
from mdhfl.flare.executor import SiteExecutor
from mdhfl.flare.filters import OnlyAnswers
from mdhfl.methods import name_of
from mdhfl.rounds.experiment import Experiment
from mdhfl.sharing.messages import Action

TASKS = list(get_args(Action))
TASK_REQUEST_INTERVAL = 0.3  # seconds between a site's questions for work; FLARE's default of 2 costs 4 s per round
ROUND_TIMEOUT = 3600.0  # seconds


class FederationRecipe(FlareRecipe):
    """Run with `recipe.run(env)` in FLARE's SimEnv, PocEnv or ProdEnv; write the folder with `recipe.export(dir)`."""

    def __init__(self, *, name: str, experiment: Experiment, round_timeout: float = ROUND_TIMEOUT) -> None:
        """Compose the job.

        Args:
            name: of the job.
            experiment: what to run.
            round_timeout: seconds after which a round closes, from 1 to 10,000,000.

        Raises:
            ValueError: no federation can run the method, or a round has no such timeout.
        """
        experiment.method.check_engine("flare")
        job = FedJob(name=name, min_clients=experiment.min_sites)
        job.set_app_packages(["mdhfl"])
        job.to_server(FederationController(experiment=experiment.to_json(), round_timeout=round_timeout))
        job.to_server(TBAnalyticsReceiver(events=[ANALYTIC_EVENT_TYPE]), id="tensorboard")
        job.to_server({"server": {"task_request_interval": TASK_REQUEST_INTERVAL}})
        job.to_clients(SiteExecutor(), tasks=TASKS)
        for task in TASKS:  # FLARE knows no "*", and writes several names in no fixed order
            job.to_clients(OnlyAnswers(), filter_type=FilterType.TASK_RESULT, tasks=[task])
        super().__init__(job)


def export_job(experiment: Experiment, *, name: str, out: Path, round_timeout: float = ROUND_TIMEOUT) -> Path:
    """Write a job folder for `nvflare job submit`.

    Args:
        experiment: what to run; submitting the same one again continues it.
        name: of the job's folder; in FLARE's lists a job is called by its method and its experiment.
        out: folder in which the job's folder is written.
        round_timeout: seconds after which a round closes, from 1 to 10,000,000.

    Returns:
        The job's folder.

    Raises:
        ValueError: no federation can run the method, or a round has no such timeout.
    """
    recipe = FederationRecipe(name=name, experiment=experiment, round_timeout=round_timeout)
    meta = out / name / "meta.json"
    if meta.is_file():
        _name(meta, name)  # FLARE replaces a folder only if its job is called like it
    with warnings.catch_warnings():  # FLARE takes the public set's digest for a secret
        warnings.simplefilter("ignore")
        recipe.export(str(out))
    _name(meta, f"{name_of(experiment.method)} {experiment.id}")
    return out / name


def _name(meta: Path, name: str) -> None:
    """Say what `list_jobs` shows: FLARE's own name for a job is that of its folder."""
    values = {**read_json(meta), "name": name}
    meta.write_text(json.dumps(values, indent=4) + "\n", encoding="utf-8")
