"""The public set over FLARE: who is answered, what comes through; and in the simulator, by its real messages."""

import contextlib
import json
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fakes.simulated import new_run, numbers_of
from fakes.small_federation import write_federation
from nvflare.apis.dxo import DXO, DataKind, from_shareable
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import ReturnCode, Shareable, make_reply

from mdhfl.flare import controller
from mdhfl.flare.apart import simulate_apart
from mdhfl.flare.public import TOPIC, FlareHost, PublicService
from mdhfl.hosting.fetching import HostGone
from mdhfl.hosting.hosted import HostedSet
from mdhfl.hosting.kept import is_complete, kept_offer
from mdhfl.hosting.pieces import Question
from mdhfl.rounds.experiment import Experiment
from mdhfl.runs.folder import site_settings_path
from mdhfl.runs.inprocess import run_in_process
from mdhfl.server.hosting import write_hosting
from mdhfl.server.journal import read_rows
from mdhfl.sharing.checks import MessageError
from mdhfl.sharing.messages import Request
from mdhfl.site.left import LEFT, read_left


class Engine:
    """FLARE's engine, as far as messages need it."""

    def __init__(self, reply: Any = None) -> None:
        self.reply, self.handlers, self.sent = reply, {}, []

    def register_aux_message_handler(self, topic: str, handler: Any) -> None:
        self.handlers[topic] = handler

    def fire_event(self, *args: Any) -> None:
        """FLARE tells everybody of warnings."""

    def new_context(self) -> Any:
        return contextlib.nullcontext(FLContext())

    def send_aux_request(self, **how: Any) -> Any:
        self.sent.append(how)
        return self.reply


def service(folder: Path, public: Path | None, *, digest: str, engine: Engine) -> PublicService:
    write_hosting(folder / "hosted.json", public)
    found = PublicService(sites=["site-1", "site-2"], public_digest=digest)
    found.start(folder / "hosted.json", FLContextOf(engine))
    return found


class FLContextOf(FLContext):
    """A context with an engine and, perhaps, somebody who asks."""

    def __init__(self, engine: Engine, *, sender: str = "") -> None:
        super().__init__()
        self._own_engine = engine
        if sender:
            peer = FLContext()
            peer.set_prop("__identity_name__", sender, private=False, sticky=False)
            self.set_peer_context(peer)

    def get_engine(self, *args: Any, **how: Any) -> Any:
        return self._own_engine


def ask(engine: Engine, sender: str, data: Any) -> dict[str, Any]:
    request = DXO(data_kind=DataKind.APP_DEFINED, data=data).to_shareable() if data is not None else Shareable()
    reply = engine.handlers[TOPIC](TOPIC, request, FLContextOf(engine, sender=sender))
    return dict(from_shareable(reply).data)


@pytest.fixture
def digest(federation: Path) -> str:
    return HostedSet(federation / "public").offer.public_digest


def test_a_server_answers_the_experiments_sites_about_its_set_alone(
    tmp_path: Path, federation: Path, digest: str
) -> None:
    engine = Engine()
    hosting = service(tmp_path, federation / "public", digest=digest, engine=engine)
    asked = Question(about="images", public_digest=digest, start=0, stop=100).to_wire()
    assert len(ask(engine, "site-2", asked)["bytes"]) == 100
    assert ask(engine, "site-3", asked)["refusal"] == "other_set"
    assert ask(engine, "site-1", {**asked, "public_digest": "0" * 64})["refusal"] == "other_set"
    for wrong in (None, [], {**asked, "about": "/etc/passwd"}, {**asked, "path": "x"}):
        assert ask(engine, "site-1", wrong)["bytes"] == b""
    assert hosting.longer == HostedSet(federation / "public").offer.bytes / 1e6


@pytest.mark.parametrize("what", ["nothing", "another set", "a damaged file"])
def test_a_server_that_hosts_not_the_experiments_set_says_so_and_goes_on(
    tmp_path: Path, federation: Path, digest: str, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    other = write_federation(tmp_path / "other", seed=1) / "public"
    if what == "a damaged file":
        (other / "datalist.json").write_text("{")
    engine = Engine()
    with caplog.at_level(logging.INFO):
        hosting = service(tmp_path, None if what == "nothing" else other, digest=digest, engine=engine)
    asked = Question(about="offer", public_digest=digest, start=0, stop=100).to_wire()
    assert ask(engine, "site-1", asked) == {"protocol": 1, "bytes": b"", "total": 0, "refusal": "other_set"}
    assert hosting.longer == 0.0
    said = {"nothing": "", "another set": f"the experiment's is {digest[:8]}", "a damaged file": "hosts no public set"}
    assert said[what] in caplog.text


def test_a_file_that_vanishes_is_the_servers_to_mend(
    tmp_path: Path, digest: str, caplog: pytest.LogCaptureFixture
) -> None:
    public = write_federation(tmp_path / "fed") / "public"
    own = HostedSet(public).offer.public_digest
    engine = Engine()
    service(tmp_path, public, digest=own, engine=engine)
    (public / "images" / "img_00000.png").unlink()
    asked = Question(about="images", public_digest=own, start=0, stop=100).to_wire()
    with caplog.at_level(logging.ERROR):
        assert ask(engine, "site-1", asked)["refusal"] == "unreadable"
    assert "img_00000.png" in caplog.text


class Passing:
    """A border that lets all pass."""

    def question(self, question: Any, request: Any) -> Any:
        return question


ASKED: Any = SimpleNamespace()


@pytest.mark.parametrize("reply", [{}, None, {"server": make_reply(ReturnCode.TIMEOUT)}, {"server": None}])
def test_no_answer_is_told_from_a_wrong_one(reply: Any) -> None:
    with pytest.raises(HostGone):
        FlareHost(Engine(reply), Passing()).ask({"x": 1}, request=ASKED)  # type: ignore[arg-type]
    with pytest.raises(MessageError, match="expected FLARE's DXO"):
        FlareHost(Engine({"server": make_reply(ReturnCode.OK)}), Passing()).ask({}, request=ASKED)  # type: ignore[arg-type]
    engine = Engine({"server": make_reply(ReturnCode.TOPIC_UNKNOWN)})
    answer = FlareHost(engine, Passing()).ask({}, request=ASKED)  # type: ignore[arg-type]
    assert answer["refusal"] == "other_set"
    whole = DXO(data_kind=DataKind.APP_DEFINED, data={"bytes": b"1"}).to_shareable()
    engine = Engine({"server": whole})
    assert FlareHost(engine, Passing()).ask({"x": 1}, request=ASKED) == {"bytes": b"1"}  # type: ignore[arg-type]
    assert engine.sent[0]["targets"] == ["server"]


def test_getting_ready_may_take_longer_by_what_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    from fakes.answers import EXPERIMENT

    asked = controller.FederationController(experiment=EXPERIMENT.to_json(), round_timeout=7)
    asked._public = SimpleNamespace(longer=1000.0)  # type: ignore[assignment]
    timeouts = []
    monkeypatch.setattr(asked, "broadcast", lambda *, task, **how: timeouts.append(task.timeout))
    for action in ("open", "learn"):
        request = EXPERIMENT.request(action, number=0)  # type: ignore[arg-type]
        asked._broadcast(request, ["a"], lambda *a: None, lambda *a: None, FLContext())
    assert timeouts == [1600, 7]
    assert isinstance(Request.from_wire(EXPERIMENT.request("open", number=0).to_wire()), Request)


@pytest.mark.slow
def test_in_the_simulator_two_sites_fetch_at_once_and_one_refuses(tmp_path: Path) -> None:
    """Real messages of FLARE, a process a site; then the numbers of sites with copies of their own."""
    federation = write_federation(tmp_path / "fed", sites=("site-1", "site-2", "site-3"), public=400)
    run, hosted = tmp_path / "run", HostedSet(federation / "public")
    experiment = new_run(run, federation, engine="flare", rounds=1, min_sites=2)
    write_hosting(run / "hosted.json", federation / "public")
    for site, accepted in (("site-1", [hosted.offer.digest]), ("site-2", [hosted.offer.digest]), ("site-3", [])):
        path = site_settings_path(run, site)
        values = {**json.loads(path.read_text()), "public": "server", "accept_public": accepted}
        path.write_text(json.dumps(values))
    simulate_apart(run, on_step=lambda step: None)
    summary = json.loads((run / "summary.json").read_text())
    assert summary["status"] == "finished"
    for site in ("site-1", "site-2"):
        folder = run / "sites" / site / "_public" / experiment.public_digest
        offer = kept_offer(folder)
        assert offer is not None
        assert is_complete(folder, offer)
        lines = read_left(run / "sites" / site / experiment.id / LEFT)
        asked = [line for line in lines if line["action"] == "public set"]
        assert len(asked) == 1 + -(-hosted.offer.bytes // 2**20)
        for number, source in enumerate(sorted((federation / "public" / "images").iterdir())):
            assert (folder / "images" / f"{number:05d}.png").read_bytes() == source.read_bytes()
    rows = read_rows(run / "results.jsonl")
    reasons = {row["reason"] for row in rows if row["site"] == "site-3"}
    assert len(reasons) == 2  # a reference a round
    assert all("(public_not_accepted; site.log: " in reason for reason in reasons)
    assert kept_offer(run / "sites" / "site-3" / "_public" / experiment.public_digest) is None
    log = (run / "flare.log").read_text(errors="replace")
    assert f"hosts public set {experiment.public_digest[:8]}: 400 images" in log
    assert f"public set, {hosted.offer.bytes} of {hosted.offer.bytes} bytes are here" in log
    assert _answered(rows) == _answered(_in_process(tmp_path / "copies", federation, experiment))


def _in_process(folder: Path, federation: Path, experiment: Experiment) -> Any:
    """The same with own copies, without the third site."""
    twin = new_run(folder, federation, rounds=1, min_sites=2)
    path = site_settings_path(folder, "site-3")
    path.write_text(json.dumps({**json.loads(path.read_text()), "minimum_images": 10**6}))
    run_in_process(folder, experiment=twin)
    return read_rows(folder / "results.jsonl")


def _answered(rows: Any) -> Any:
    return [row for row in numbers_of(rows) if row["status"] == "ok"]
