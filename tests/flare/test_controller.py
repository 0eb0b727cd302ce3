"""The controller's bookkeeping, without FLARE's network: whose answer is whose."""

import json
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fakes.answers import EXPERIMENT, answer_of
from nvflare.apis.controller_spec import Task
from nvflare.apis.dxo import DXO, DataKind, from_shareable
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import ReturnCode, Shareable, make_reply
from nvflare.apis.signal import Signal

from mdhfl.flare import controller as module
from mdhfl.flare.controller import OPENING_TIMEOUT, FederationController, JobAborted, read_answer
from mdhfl.flare.job import export_job
from mdhfl.rounds.loop import TooFewSites
from mdhfl.sharing.messages import Answer, Request


def controller_hearing(sent: dict[str, Shareable], monkeypatch: pytest.MonkeyPatch) -> FederationController:
    """Return a controller whose broadcast gives each site's result back at once."""
    controller = FederationController(experiment=EXPERIMENT.to_json(), round_timeout=1)

    def broadcast(*, task: Task, fl_ctx: Any, targets: list[str], min_responses: int) -> None:
        for name in targets:
            task.result_received_cb(SimpleNamespace(client=SimpleNamespace(name=name), result=sent[name]), fl_ctx)
        task.completion_status = "done"

    monkeypatch.setattr(controller, "broadcast", broadcast)
    return controller


def wire(answer: Answer) -> Shareable:
    return DXO(data_kind=DataKind.APP_DEFINED, data=answer.to_wire()).to_shareable()


def test_an_answer_is_its_senders_whatever_name_it_bears(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    request = EXPERIMENT.request("warm_up", number=0)
    sent = {
        "a": wire(answer_of("a", request)),
        "b": wire(answer_of("a", request)),  # b claims to be a, and must not replace a's answer
        "c": make_reply(ReturnCode.TASK_RESULT_FILTER_ERROR),
    }
    controller = controller_hearing(sent, monkeypatch)
    clients = [SimpleNamespace(name=name) for name in sent]
    fl_ctx: Any = SimpleNamespace(get_engine=lambda: SimpleNamespace(get_clients=lambda: clients))
    requests: dict[str, Request] = dict.fromkeys(sent, request)
    answers = controller._ask(requests, tmp_path, Signal(), fl_ctx)
    assert list(answers) == ["a", "b", "c"]
    assert answers["a"].site == "a"
    assert answers["b"].site == "b"
    assert "expected an answer from site 'b', got one signed 'a'" in answers["b"].refusal
    assert answers["b"].shared is None
    steps = [json.loads(line) for line in (tmp_path / "progress.jsonl").read_text().splitlines()]
    assert [step["site"] for step in steps] == ["a", "b", "c"]
    assert "TASK_RESULT_FILTER_ERROR" in answers["c"].refusal


@pytest.mark.parametrize("data", [None, [], "text", {}, {"site": "a"}, {"site": ["a"] * 9}, float("nan")])
def test_what_is_no_answer_is_a_refusal_of_who_sent_it(data: Any) -> None:
    request = EXPERIMENT.request("warm_up", number=0)
    sent = make_reply(ReturnCode.OK)
    sent["DXO"] = data
    for result in (sent, DXO(data_kind=DataKind.APP_DEFINED, data={"x": data}).to_shareable()):
        answer = read_answer(result, request, site="a")
        assert (answer.site, answer.round) == ("a", 0)
        assert "site 'a' sent no answer" in answer.refusal


def test_no_round_begins_before_the_sites_are_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A site's start has a deadline of its own: the round's is for work alone."""
    controller = FederationController(experiment=EXPERIMENT.to_json(), round_timeout=7)
    asked: list[tuple[str, int, int]] = []

    def broadcast(*, task: Task, fl_ctx: Any, targets: list[str], min_responses: int) -> None:
        request = Request.from_wire(from_shareable(task.data).data)
        asked.append((task.name, request.round, task.timeout))
        task.completion_status = "done"

    monkeypatch.setattr(controller, "broadcast", broadcast)
    clients = [SimpleNamespace(name=name) for name in EXPERIMENT.sites]
    workspace = SimpleNamespace(get_root_dir=lambda: str(tmp_path), get_run_dir=lambda job: str(tmp_path / job))
    engine = SimpleNamespace(
        get_clients=lambda: clients,
        get_workspace=lambda: workspace,
        register_aux_message_handler=lambda topic, handler: None,
    )
    fl_ctx: Any = SimpleNamespace(get_engine=lambda: engine, get_job_id=lambda: "job")
    with pytest.raises(TooFewSites):
        controller._run(Signal(), fl_ctx)
    assert asked == [("open", 0, OPENING_TIMEOUT), ("warm_up", 0, 7)]


@pytest.mark.parametrize(("round_timeout", "whole"), [(1, 1), (1.0, 1), (1.2, 2), (7, 7), (59.999, 60), (1e7, 10**7)])
def test_a_round_never_gets_less_time_than_asked_for(
    round_timeout: float, whole: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    controller = FederationController(experiment=EXPERIMENT.to_json(), round_timeout=round_timeout)
    timeouts: list[int] = []
    monkeypatch.setattr(controller, "broadcast", lambda *, task, **how: timeouts.append(task.timeout))
    request = EXPERIMENT.request("learn", number=1)
    controller._broadcast(request, ["a"], lambda *a: None, lambda *a: None, FLContext())
    assert timeouts == [whole]
    assert type(timeouts[0]) is int


@pytest.mark.parametrize("wrong", [0, 0.5, -1, 1.1e7, float("inf"), float("nan"), "60", None, True])
def test_a_round_without_an_end_is_refused_before_it_begins(wrong: Any, tmp_path: Path) -> None:
    said = r"^round_timeout in seconds: expected a number from 1 to 1e\+07, got "
    with pytest.raises(ValueError, match=said):
        FederationController(experiment=EXPERIMENT.to_json(), round_timeout=wrong)
    with pytest.raises(ValueError, match=said):
        export_job(EXPERIMENT, name="job", out=tmp_path, round_timeout=wrong)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("taken", [("a",), ("a", "b")])
def test_a_site_that_does_not_take_its_request_is_not_waited_for(
    taken: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a answers. b is waited for until the deadline if it has taken its request, and c never."""
    monkeypatch.setattr(module, "MOST_ABSENCE", 0.3)
    controller = FederationController(experiment=EXPERIMENT.to_json(), round_timeout=1000)
    request, tasks = EXPERIMENT.request("warm_up", number=0), []

    def broadcast(*, task: Task, fl_ctx: Any, targets: list[str], min_responses: int) -> None:
        tasks.append(task)
        for name in taken:
            task.before_task_sent_cb(SimpleNamespace(client=SimpleNamespace(name=name)), fl_ctx)
        answer = SimpleNamespace(client=SimpleNamespace(name="a"), result=wire(answer_of("a", request)))
        task.result_received_cb(answer, fl_ctx)

    def cancel() -> None:
        tasks[0].completion_status = "cancelled"

    monkeypatch.setattr(controller, "broadcast", broadcast)
    monkeypatch.setattr(controller, "cancel_all_tasks", cancel)
    clients = [SimpleNamespace(name=name) for name in EXPERIMENT.sites]
    fl_ctx: Any = SimpleNamespace(get_engine=lambda: SimpleNamespace(get_clients=lambda: clients))
    stop = Signal()
    deadline = threading.Timer(1.0, stop.trigger, args=[True])
    deadline.start()
    try:
        if "b" in taken:
            with pytest.raises(JobAborted):
                controller._ask(dict.fromkeys("abc", request), tmp_path, stop, fl_ctx)
        else:
            assert list(controller._ask(dict.fromkeys("abc", request), tmp_path, stop, fl_ctx)) == ["a"]
    finally:
        deadline.cancel()
