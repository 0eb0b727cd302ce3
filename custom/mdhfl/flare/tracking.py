"""Scores on their way to MLflow or Weights & Biases, through FLARE's own receivers.

The receivers are not components of a job, which could then name an address: the server's controller opens what the
server's own `tracking.json` says. A tracker that is slow or away delays no round and ends no job.
"""

import logging
import os
import queue
import threading
from collections.abc import Callable, Mapping
from typing import Any

from nvflare.apis.analytix import AnalyticsDataType
from nvflare.apis.fl_context import FLContext
from nvflare.apis.utils.analytix_utils import create_analytic_dxo
from nvflare.app_common.widgets.streaming import AnalyticsReceiver

from mdhfl.methods import name_of, parameters_of
from mdhfl.rounds.experiment import Experiment
from mdhfl.server.tracking import Tracking

PROJECT = "mdhfl"  # MLflow's experiment, Weights & Biases' project
LAST_WAIT = 30.0  # seconds at the end for what has not been sent


def open_receiver(tracking: Tracking, *, experiment: Experiment) -> AnalyticsReceiver:
    """Return FLARE's receiver of a tracker. Raises ImportError where the tracker is not installed."""
    settings = {"method": name_of(experiment.method), "seed": experiment.seed, **parameters_of(experiment.method)}
    if tracking.to == "mlflow":
        from nvflare.app_opt.tracking.mlflow.mlflow_receiver import MLflowReceiver

        tags = {name: str(value) for name, value in settings.items()}
        names = {"experiment_name": PROJECT, "run_name": experiment.id, "run_tags": tags, "experiment_tags": {}}
        return MLflowReceiver(tracking_uri=tracking.address, kw_args=names)
    from nvflare.app_opt.tracking.wandb.wandb_receiver import WandBReceiver

    names = {"project": PROJECT, "name": experiment.id, "group": experiment.id, "job_type": "site", "config": settings}
    mode = os.environ.get("WANDB_MODE", "online")
    return WandBReceiver(wandb_args=names, mode=mode, process_timeout=LAST_WAIT)


class Tracker:
    """Sends each site's scalars to its own run of the tracker, one after another, in a thread of its own."""

    def __init__(self, open_it: Callable[[], AnalyticsReceiver], fl_ctx: FLContext) -> None:
        self._fl_ctx = fl_ctx
        self._log = logging.getLogger(type(self).__name__)
        self._waiting: queue.SimpleQueue[tuple[str, int, Mapping[str, float]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, args=(open_it,), name="tracker", daemon=True)
        self._thread.start()

    def tell(self, site: str, number: int, scalars: Mapping[str, float]) -> None:
        """Send what a site told in a round."""
        self._waiting.put((site, number, scalars))

    def close(self) -> None:
        """Send the rest, for a while."""
        self._waiting.put(None)
        self._thread.join(LAST_WAIT)

    def _run(self, open_it: Callable[[], AnalyticsReceiver]) -> None:
        try:
            receiver = open_it()
            receiver.initialize(self._fl_ctx)
            while (told := self._waiting.get()) is not None:
                site, number, scalars = told
                for tag, value in scalars.items():
                    receiver.save(self._fl_ctx, _message(tag, value, number), site)
            receiver.finalize(self._fl_ctx)
        except Exception as error:  # whatever another program or server makes of it
            self._log.warning(f"scores are not tracked any more ({type(error).__name__}: {error}); the job goes on")


def _message(tag: str, value: float, number: int) -> Any:
    kind = AnalyticsDataType.METRIC
    return create_analytic_dxo(tag=tag, value=value, data_type=kind, global_step=number).to_shareable()
