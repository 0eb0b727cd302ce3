"""FLARE's log: what a site or a server says stays in the one record that quotes it."""

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from fakes.answers import EXPERIMENT, answer_of
from fakes.hostile import WORST, hidden_in
from nvflare.apis.dxo import DXO, DataKind
from nvflare.apis.fl_constant import FLContextKey
from nvflare.apis.fl_context import FLContext
from nvflare.apis.signal import Signal

from mdhfl.flare import controller as module
from mdhfl.flare import places
from mdhfl.flare.controller import FederationController
from mdhfl.flare.executor import SiteExecutor
from mdhfl.flare.filters import OnlyAnswers
from mdhfl.runs.progress import Step, note_step, pass_on
from mdhfl.sharing.exchange import Round
from mdhfl.sharing.messages import Answer

FORGED = f"no\n2026-01-01 00:00:00,000 - INFO - all is well {WORST}"


@pytest.fixture(autouse=True)
def fire_no_events(monkeypatch: pytest.MonkeyPatch) -> None:
    for component in (FederationController, SiteExecutor, OnlyAnswers):
        monkeypatch.setattr(component, "_fire_log_event", lambda *_, **__: None)


def check_log(caplog: pytest.LogCaptureFixture) -> None:
    records = [record.getMessage() for record in caplog.records]
    assert any("all is well" in record for record in records)
    assert not any(hidden_in(record, allowed="") for record in records)


def test_the_controller_quotes_a_refusal_in_one_line(caplog: pytest.LogCaptureFixture, monkeypatch: Any) -> None:
    caplog.set_level(logging.DEBUG)
    tags: list[str] = []
    monkeypatch.setattr(module, "create_analytic_dxo", lambda *, tag, **_: tags.append(tag))
    monkeypatch.setattr(module, "send_analytic_dxo", lambda *_, **__: None)
    request = EXPERIMENT.request("warm_up", number=0)
    answers = {"a": answer_of("a", request), WORST: Answer(site=WORST, round=0, refusal=FORGED)}
    good = answers["a"]
    answers["b"] = Answer(**{**{n: getattr(good, n) for n in good.__dataclass_fields__}, "site": f"b{FORGED}"})
    done = Round(number=0, requests=dict.fromkeys([*answers, f"b{FORGED}"], request), answers={
        answer.site: answer for answer in answers.values()}, shared={})  # fmt: skip
    controller = FederationController(experiment=EXPERIMENT.to_json(), round_timeout=1)
    controller._tell(done, None, FLContext())
    controller.process_result_of_unknown_task(SimpleNamespace(name=FORGED), "learn", "1", None, FLContext())  # type: ignore[arg-type]
    check_log(caplog)
    assert tags
    assert not any(hidden_in(tag, allowed="") for tag in tags)


def test_a_panic_says_why_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    controller = FederationController(experiment={"id": FORGED}, round_timeout=1)
    said: list[str] = []
    monkeypatch.setattr(
        controller, "fire_event", lambda _, context: said.append(context.get_prop(FLContextKey.EVENT_DATA))
    )
    monkeypatch.setattr(controller, "_run", lambda *_: (_ for _ in ()).throw(ValueError(FORGED)))
    controller.control_flow(Signal(), FLContext())
    assert len(said) == 1
    assert not hidden_in(said[0], allowed="")


def test_a_site_s_log_quotes_what_came_and_its_traceback_line_by_line(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without(context: FLContext) -> None:
        raise ValueError("no site.json")

    monkeypatch.setattr(places, "own_settings", without)
    caplog.set_level(logging.DEBUG)
    context = FLContext()
    wrong = DXO(data_kind=DataKind.APP_DEFINED, data={FORGED: np.zeros(1)}).to_shareable()
    SiteExecutor().execute(FORGED, wrong, context, Signal())
    OnlyAnswers().process(wrong, context)
    check_log(caplog)


def test_progress_is_passed_on_as_it_was_said(tmp_path: Path) -> None:
    request = EXPERIMENT.request("warm_up", number=0)
    note_step(tmp_path, Step.of(request, Answer(site=WORST, round=0, refusal=FORGED)))
    steps: list[Step] = []
    assert pass_on(tmp_path, 0, steps.append) == 1
    assert (steps[0].site, steps[0].refusal) == (WORST, FORGED)
