"""FLARE's side of `rounds/loop.py`: `ask` is a broadcast. No arithmetic here."""

import math
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from nvflare.apis.analytix import ANALYTIC_EVENT_TYPE, AnalyticsDataType
from nvflare.apis.client import Client
from nvflare.apis.controller_spec import ClientTask, Task
from nvflare.apis.dxo import DXO, DataKind, from_shareable
from nvflare.apis.fl_constant import ReturnCode
from nvflare.apis.fl_context import FLContext
from nvflare.apis.impl.controller import Controller
from nvflare.apis.shareable import Shareable
from nvflare.apis.signal import Signal
from nvflare.apis.utils.analytix_utils import create_analytic_dxo, send_analytic_dxo

from mdhfl.flare import home, places
from mdhfl.flare.logs import PlainLog
from mdhfl.flare.public import PublicService
from mdhfl.flare.tracking import Tracker, open_receiver
from mdhfl.metrics import HEADLINES
from mdhfl.rounds.experiment import Experiment
from mdhfl.rounds.loop import federate
from mdhfl.runs.progress import Step, forget_steps, note_step
from mdhfl.server.results import Results
from mdhfl.server.rows import rows_of
from mdhfl.server.settings import read_server_settings
from mdhfl.server.tracking import read_tracking
from mdhfl.server.trainer import trainer_from
from mdhfl.sharing.checks import number
from mdhfl.sharing.exchange import Round
from mdhfl.sharing.messages import Answer, Request
from mdhfl.showing.texts import one_line

TASK_CHECK_PERIOD = 0.1  # seconds
MOST_ABSENCE = 120.0  # seconds: a living site takes its request within one
SHORTEST_ROUND, LONGEST_ROUND = 1.0, 1e7  # seconds; FLARE counts whole ones, and takes 0 for no end
OPENING_TIMEOUT = 600.0  # seconds for a site to import torch, build its network and read its images

OnTask = Callable[[ClientTask, FLContext], None]


class JobAborted(RuntimeError):
    """FLARE wants the job to end; everything recorded is kept."""


class FederationController(PlainLog, Controller):
    """Runs one experiment. Every argument is stored under its own name, because FLARE exports jobs by reflection."""

    def __init__(self, *, experiment: dict, round_timeout: float) -> None:
        """Take the experiment as plain values. Where results and settings lie, `places` says, not the job.

        Args:
            experiment: as `Experiment.to_json` gives it; submitting a job with the same id continues it.
            round_timeout: seconds after which a round closes without the sites that have not answered. No round
                begins before the sites are ready, so their start does not count.

        Raises:
            ValueError: a timeout below a second, beyond 10,000,000, or none at all.
        """
        super().__init__()
        self.experiment = experiment
        self.round_timeout = number(
            round_timeout, what="round_timeout in seconds", low=SHORTEST_ROUND, high=LONGEST_ROUND
        )
        self._public: PublicService | None = None

    def start_controller(self, fl_ctx: FLContext) -> None:
        """Say what is about to run."""
        asked = self.experiment
        self.log_info(
            fl_ctx, f"experiment {asked['id']}: {asked['method']}, {asked['rounds']} rounds, {asked['sites']}"
        )

    def control_flow(self, abort_signal: Signal, fl_ctx: FLContext) -> None:
        """Run the experiment, or what is left of it."""
        try:
            self._run(abort_signal, fl_ctx)
        except JobAborted:
            self.log_info(fl_ctx, "aborted; submit the same experiment again to continue")
        except (RuntimeError, ValueError, OSError, KeyError, TypeError) as error:
            self.system_panic(str(error), fl_ctx)

    def _run(self, abort_signal: Signal, fl_ctx: FLContext) -> None:
        kept = fl_ctx.get_engine().get_workspace()
        workspace = Path(kept.get_root_dir())
        server_config = places.server_settings(workspace)
        trusted = read_server_settings(server_config).methods if server_config.is_file() else ()
        experiment = Experiment.from_json(self.experiment, trusted=trusted)
        folder = places.results(workspace, experiment=experiment.id)
        download = places.download(kept, job=fl_ctx.get_job_id())
        results = Results(folder, experiment=experiment)
        self._public = PublicService(sites=experiment.sites, public_digest=experiment.public_digest)
        self._public.start(places.hosting(workspace), fl_ctx)
        tracking = read_tracking(places.tracking(workspace))
        tracker = Tracker(partial(open_receiver, tracking, experiment=experiment), fl_ctx) if tracking else None
        try:
            last = results.resume()
            forget_steps(folder)
            if download is not None:
                home.describe(folder, experiment=experiment)
            if last is not None:
                self.log_info(fl_ctx, f"continues after round {last.number}, as recorded in {folder}")

            def record(finished: Round) -> None:
                results.record(finished)
                self._tell(finished, tracker, fl_ctx)

            def ask(requests: Mapping[str, Request]) -> Mapping[str, Answer]:
                return self._ask(requests, folder, abort_signal, fl_ctx)

            following = 0 if last is None else last.number + 1
            ready = ask(dict.fromkeys(experiment.sites, experiment.request("open", number=following)))
            for answer in ready.values():
                if answer.refusal:
                    self.log_warning(fl_ctx, f"not ready: {answer.refusal}")
            unfinished = federate(
                experiment,
                ask=ask,
                record=record,
                last=last,
                decide=results.decisions,
                open_trainer=trainer_from(server_config, experiment=experiment),
            )
            for reason in unfinished.values():
                self.log_warning(fl_ctx, f"at the end: {reason}")
            federation = f"public set {experiment.public_digest[:8]}"
            results.summarise(engine="flare", federation=federation, unfinished=unfinished)
        finally:
            results.close()
            if tracker is not None:
                tracker.close()
            if download is not None:
                home.take(folder, to=download)

    def stop_controller(self, fl_ctx: FLContext) -> None:
        """Nothing to release."""

    def process_result_of_unknown_task(
        self, client: Client, task_name: str, client_task_id: str, result: Shareable, fl_ctx: FLContext
    ) -> None:
        """Log an answer that came after its round had closed; the site is asked again in the next."""
        self.log_warning(fl_ctx, f"answer of site {client.name!r} came after the round's deadline and is not used")

    def _ask(
        self, requests: Mapping[str, Request], folder: Path, abort_signal: Signal, fl_ctx: FLContext
    ) -> Mapping[str, Answer]:
        """Broadcast each different request to the sites that it is for, and wait for all that take it.

        A site that has not even taken its request is not waited for until the deadline: FLARE does not tell a job that
        a site's client was started anew, without the job.
        """
        answers: dict[str, Answer] = {}
        taken: set[str] = set()
        lock = threading.Lock()

        def received(client_task: ClientTask, fl_ctx: FLContext) -> None:
            sender = client_task.client.name  # as FLARE knows it, whatever the answer claims
            answer = read_answer(client_task.result, requests[sender], site=sender)
            with lock:
                answers[sender] = answer
                note_step(folder, Step.of(requests[sender], answer))

        def sent(client_task: ClientTask, fl_ctx: FLContext) -> None:
            with lock:
                taken.add(client_task.client.name)

        def only_absent_are_missing() -> bool:
            with lock:
                return bool(taken) and taken <= answers.keys() and time.monotonic() - asked > MOST_ABSENCE

        asked = time.monotonic()
        connected = {client.name for client in fl_ctx.get_engine().get_clients()}
        tasks = []
        for request in {id(request): request for request in requests.values()}.values():
            targets = [site for site, wanted in requests.items() if wanted is request and site in connected]
            if targets:
                tasks.append(self._broadcast(request, targets, sent, received, fl_ctx))
        while any(task.completion_status is None for task in tasks) and not abort_signal.triggered:
            time.sleep(TASK_CHECK_PERIOD)
            if only_absent_are_missing():
                self.cancel_all_tasks()
        if abort_signal.triggered:
            self.cancel_all_tasks()
            raise JobAborted
        with lock:
            return dict(answers)

    def _broadcast(
        self, request: Request, targets: list[str], sent: OnTask, received: OnTask, fl_ctx: FLContext
    ) -> Task:
        task = Task(
            name=request.action,
            data=DXO(data_kind=DataKind.APP_DEFINED, data=request.to_wire()).to_shareable(),
            timeout=math.ceil(self._opening_timeout() if request.action == "open" else self.round_timeout),
            before_task_sent_cb=sent,
            result_received_cb=received,
        )
        self.broadcast(task=task, fl_ctx=fl_ctx, targets=targets, min_responses=len(targets))
        return task

    def _opening_timeout(self) -> float:
        """Return the seconds that sites have to get ready, and to fetch what is hosted."""
        return OPENING_TIMEOUT + (self._public.longer if self._public is not None else 0.0)

    def _tell(self, finished: Round, tracker: Tracker | None, fl_ctx: FLContext) -> None:
        """Log one line per site and stream its scalars to TensorBoard, from what the server holds anyway."""
        for site, look in finished.looks.items():
            for line in look.told:
                self.log_warning(fl_ctx, f"round {finished.number}: site {site!r} {line}")
        for row in rows_of(finished):
            if row["status"] != "ok":
                self.log_warning(fl_ctx, f"round {row['round']}: {row['reason']}")
                continue
            told = {f"test/{name}": row["test"][name] for name in HEADLINES}
            told |= {f"loss/{name}": value for name, value in row["losses"].items()}
            scalars = {tag: value for tag, value in told.items() if value is not None}
            shown = " ".join(f"{tag}={value:.4f}" for tag, value in scalars.items())
            self.log_info(fl_ctx, f"round={row['round']} site={row['site']} {shown} seconds={row['seconds']}")
            if tracker is not None:
                tracker.tell(row["site"], row["round"], scalars)
            for tag, value in scalars.items():
                dxo = create_analytic_dxo(
                    tag=one_line(f"{tag}/{row['site']}"),
                    value=value,
                    data_type=AnalyticsDataType.SCALAR,
                    global_step=row["round"],
                )
                send_analytic_dxo(self, dxo, fl_ctx, event_type=ANALYTIC_EVENT_TYPE, fire_fed_event=False)


def read_answer(result: Shareable, request: Request, *, site: str) -> Answer:
    """Return the answer in a site's result; anything else becomes a refusal in the name of the site that sent it."""
    try:
        code = result.get_return_code()
        if code not in (None, ReturnCode.OK):
            reason = f"site {site!r} replied {str(code)[:100]}; its log says why"
            return Answer(site=site, round=request.round, refusal=reason)
        answer = Answer.from_wire(from_shareable(result).data)
    except Exception as error:  # whatever FLARE's reader makes of what another machine sent
        reason = f"site {site!r} sent no answer ({error})"
        return Answer(site=site, round=request.round).refused(reason)
    if answer.site != site:
        reason = f"expected an answer from site {site!r}, got one signed {answer.site!r}"
        return Answer(site=site, round=request.round, refusal=reason)
    return answer
