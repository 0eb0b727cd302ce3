"""A site's side of FLARE, without its network: what it says when it starts, and to a server it cannot understand."""

import logging
from pathlib import Path
from typing import Any

import pytest
from fakes.borders import Asked, answer_in, as_result, ask_first, context
from nvflare.apis.signal import Signal

from mdhfl import __version__
from mdhfl.flare.executor import SiteExecutor
from mdhfl.flare.filters import OnlyAnswers
from mdhfl.flare.places import simulated
from mdhfl.sharing.messages import Answer
from mdhfl.sharing.protocol import PROTOCOL


@pytest.fixture
def asked(tmp_path: Path, federation: Path) -> Asked:
    return ask_first(tmp_path / "run", federation)


def left(asked: Asked, executor: SiteExecutor, wires: list[dict[str, Any]]) -> list[Answer]:
    """Return what leaves the site, after its filter, for each of some requests."""
    answers = []
    with simulated(asked.run):
        for wire in wires:
            fl_ctx = context(asked, request=None)
            result = executor.execute("task", as_result(wire), fl_ctx, Signal())
            answers.append(answer_in(OnlyAnswers().process(result, fl_ctx)))
    return answers


def test_a_server_of_another_protocol_is_told_which_version_the_site_runs(asked: Asked) -> None:
    wire = {**asked.request.to_wire(), "protocol": PROTOCOL + 1, "a_later_field": 1}
    (answer,) = left(asked, SiteExecutor(), [wire])
    assert answer.refusal.startswith(
        f"site 'site-1': it runs mdhfl \"{__version__}\" and cannot read what the server's"
    )
    assert "(version; site.log: " in answer.refusal
    log = (asked.run / "sites" / "site-1" / "site.log").read_text()
    assert f"expected protocol {PROTOCOL}" in log


def test_a_site_says_once_what_it_starts_with(asked: Asked, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        left(asked, SiteExecutor(), [asked.experiment.request("open", number=0).to_wire()] * 2)
    lines = [record.getMessage() for record in caplog.records if "starts:" in record.getMessage()]
    assert len(lines) == 1
    expected = (
        "site site-1 starts: bundle shufflenet_v2 (ShuffleNetV2 x1.0), 105,315 parameters, on cpu with 1 thread; "
        "images: 24 training, 12 validation, 12 test, 20 public; 3 classes: blue, red, green"
    )
    assert expected in lines[0]
