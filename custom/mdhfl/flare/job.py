"""An experiment as a FLARE job: one app for all sites, with nothing in it but configuration.

The code is installed at the sites (their `local/resources.json` must allow the classes of "mdhfl."), not shipped.
"""

from nvflare.apis.analytix import ANALYTIC_EVENT_TYPE
from nvflare.app_opt.tracking.tb.tb_receiver import TBAnalyticsReceiver
from nvflare.job_config.api import FedJob
from nvflare.job_config.defs import FilterType
from nvflare.recipe.spec import Recipe

from mdhfl.flare.controller import FederationController
from mdhfl.flare.executor import SiteExecutor
from mdhfl.flare.filters import OnlyKnowledge, OnlyWeights
from mdhfl.rounds.experiment import Experiment

TASKS = ["warm_up", "learn", "adopt", "merge", "finish"]
TASK_REQUEST_INTERVAL = 0.3  # seconds between a site's questions for work; FLARE's default of 2 costs 4 s a round


class FederationRecipe(Recipe):
    """Run with `recipe.run(env)` in FLARE's SimEnv, PocEnv or ProdEnv; write the folder with `recipe.export(dir)`."""

    def __init__(
        self,
        *,
        name: str,
        experiment: Experiment,
        round_timeout: float,
        results: str,
        site_config: str,
        server_config: str,
    ) -> None:
        """Compose the job.

        Args:
            name: of the job.
            experiment: what to run.
            round_timeout: seconds after which a round closes.
            results: the server's folder of results; see FederationController.
            site_config: path of a site's site.json; see SiteExecutor.
            server_config: path of the server's server.json; see FederationController.

        Raises:
            ValueError: the method is none that a federation may run.
        """
        method = experiment.create_method()
        if method.pools:
            raise ValueError(
                f"{experiment.method} sees all sites' images, which no federation may: no FLARE job can be made of it; "
                "use `mdhfl run` with --engine inprocess"
            )
        job = FedJob(name=name, min_clients=experiment.min_sites)
        job.set_app_packages(["mdhfl"])
        job.to_server(
            FederationController(
                experiment=experiment.id,
                method=experiment.method,
                parameters=dict(experiment.parameters),
                rounds=experiment.rounds,
                seed=experiment.seed,
                sites=list(experiment.sites),
                min_sites=experiment.min_sites,
                classes=list(experiment.classes),
                public_digest=experiment.public_digest,
                public_count=experiment.public_count,
                round_timeout=round_timeout,
                results=results,
                server_config=server_config,
            )
        )
        job.to_server(TBAnalyticsReceiver(events=[ANALYTIC_EVENT_TYPE]), id="tensorboard")
        job.to_server({"server": {"task_request_interval": TASK_REQUEST_INTERVAL}})
        job.to_clients(SiteExecutor(site_config=site_config), tasks=TASKS)
        only = OnlyWeights() if method.shares == "weights" else OnlyKnowledge()
        job.to_clients(only, filter_type=FilterType.TASK_RESULT, tasks=["*"])
        super().__init__(job)
