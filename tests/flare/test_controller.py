"""The controller's bookkeeping, without FLARE's network: whose answer is whose."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fakes.answers import EXPERIMENT, answer_of
from nvflare.apis.controller_spec import Task
from nvflare.apis.dxo import DXO, DataKind
from nvflare.apis.shareable import ReturnCode, Shareable, make_reply
from nvflare.apis.signal import Signal

from mdhfl.flare.controller import FederationController, read_answer
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
