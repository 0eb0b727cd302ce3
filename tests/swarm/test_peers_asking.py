"""What a peer's message may not do: end the work in hand, begin another, leave anything on the disk without limit."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes.simulated import log_of
from fakes.swarms import SITES, kept_turn, start, stop_at

from mdhfl.files import read_json
from mdhfl.rounds.experiment import Experiment
from mdhfl.runs.inprocess import open_sites, run_in_process
from mdhfl.sharing.messages import Request
from mdhfl.site.border import Border
from mdhfl.site.history import HISTORY
from mdhfl.site.left import LEFT, read_left
from mdhfl.site.log import LOG, MOST_OF_A_PEER
from mdhfl.site.site import Site
from mdhfl.site.watched import WATCHED
from mdhfl.status.site import read_site


class Merging:
    """A run that was stopped before its first merge, whose leader asks a member for its share."""

    def __init__(self, folder: Path, federation: Path) -> None:
        self.folder = folder
        self.experiment: Experiment = start(folder, federation, rounds=1)[0]
        with pytest.raises(KeyboardInterrupt):
            run_in_process(folder, experiment=self.experiment, on_answer=stop_at("merge", 0))
        self.turn = kept_turn(folder)
        self.leader, self.member = self.turn.order[:2]
        self.site = self.opened()

    def opened(self) -> Site:
        """The member, as after a restart of its process."""
        return open_sites(self.folder, names=SITES)[self.member]

    @property
    def state(self) -> Path:
        return self.folder / "sites" / self.member

    @property
    def request(self) -> Request:
        return self.experiment.request("merge", number=0, lesson=self.turn)

    def ask(self, request: Request, *, sender: str = "") -> dict[str, Any]:
        message = {"ask": "share", "length": 0, "request": request.to_wire()}
        return self.site.receive(sender or self.leader, message)

    def shares(self) -> bool:
        return bool(np.ndim(self.ask(self.request).get("result")) == 1)

    def files(self) -> dict[str, int]:
        """What lies in the member's state, without its log: each file with its size."""
        paths = (path for path in self.state.rglob("*") if path.is_file() and path.name != LOG)
        return {str(path.relative_to(self.state)): path.stat().st_size for path in paths}


@pytest.fixture
def merging(tmp_path: Path, three_sites: Path) -> Any:
    one = Merging(tmp_path / "run", three_sites)
    yield one
    one.site.close()


def others(request: Request) -> dict[str, Request]:
    """Requests about anything else than the experiment of this one."""
    subject = request.subject
    return {
        "experiment": replace(request, experiment="made-up"),
        "seed": replace(request, seed=99),
        "classes": replace(request, subject=replace(subject, classes=tuple(reversed(subject.classes)))),
    }


@pytest.mark.parametrize("what", ["experiment", "seed", "classes"])
def test_a_peer_cannot_end_the_work_in_hand(merging: Merging, what: str) -> None:
    assert merging.shares()
    work, files = merging.site._work, merging.files()
    reply = merging.ask(others(merging.request)[what])
    assert set(reply) == {"refusal"}
    said = log_of(merging.folder, reply["refusal"], merging.member)
    if what == "experiment":
        assert f"works on experiment {merging.experiment.id!r}, and a peer asked about 'made-up'" in said
    else:
        assert f"this experiment was begun with something else: {what}" in reply["refusal"]
    assert merging.site._work is work
    assert merging.files() == files, "no history, no folder"
    assert merging.shares()


@pytest.mark.parametrize("what", ["experiment", "seed", "classes"])
def test_a_peer_cannot_begin_anything_where_no_work_is_in_hand(merging: Merging, what: str) -> None:
    history = (merging.state / merging.experiment.id / HISTORY).read_bytes()
    status = (merging.state / merging.experiment.id / WATCHED).read_bytes()
    assert set(merging.ask(others(merging.request)[what])) == {"refusal"}
    assert merging.site._work is None
    assert not (merging.state / "made-up").exists()
    assert (merging.state / merging.experiment.id / HISTORY).read_bytes() == history
    assert (merging.state / merging.experiment.id / WATCHED).read_bytes() == status
    assert merging.shares()


def test_the_log_of_refused_peers_has_an_end(merging: Merging) -> None:
    evil = replace(merging.request, experiment="made-up")
    for _ in range(MOST_OF_A_PEER + 5):
        assert set(merging.ask(evil, sender="site-8")) == {"refusal"}
    log = merging.state / LOG
    written = log.read_text()
    assert written.count("has no model to share") == 2 * MOST_OF_A_PEER  # in a record, and in its traceback
    assert f"refused site 'site-8' {MOST_OF_A_PEER} times: of its further messages nothing is written" in written
    reply = merging.ask(evil, sender="site-9")
    assert "has no model to share" in log_of(merging.folder, reply["refusal"], merging.member)


def test_what_is_answered_to_a_peer_leaves_no_folder_and_a_log_with_an_end(merging: Merging) -> None:
    """The border of a reply: a refusal passes and is written down, a message without its question is held back."""
    border = Border(merging.site.settings)
    evil = replace(merging.request, experiment="made-up")
    reply = merging.ask(evil, sender="site-8")
    asked = {"ask": "share", "request": evil.to_wire()}
    assert border.message(reply, to="site-8", reply_to=asked) == reply
    assert read_left(merging.state / LEFT)[-1]["to"] == "site-8"
    log = merging.state / LOG
    log.unlink()
    for _ in range(MOST_OF_A_PEER + 5):
        out = border.message({"result": 1}, to="site-8", reply_to={"request": evil.to_wire()})
        assert set(out) == {"refusal"}
    assert log.read_text().count("Traceback") <= 2 * MOST_OF_A_PEER
    assert f"refused site 'site-8' {MOST_OF_A_PEER} times" in log.read_text()
    assert not (merging.state / "made-up").exists()


def test_a_finished_experiment_stays_finished_whatever_the_server_asks(merging: Merging) -> None:
    run_in_process(merging.folder, experiment=merging.experiment)
    merging.site = merging.opened()
    finished = replace(merging.experiment.request("open", number=0), seed=99)
    assert merging.site.answer(finished).refusal
    seen = read_site(merging.state / merging.experiment.id)
    assert seen.state == "finished"


def test_a_site_that_only_answers_a_peer_is_not_said_to_lead(merging: Merging) -> None:
    folder = merging.state / merging.experiment.id
    assert merging.shares()
    assert read_json(folder / WATCHED)["doing"] is None
    assert "The site waits for the server" in read_site(folder).headline


def test_a_finished_experiment_stays_finished_whoever_asks(merging: Merging) -> None:
    run_in_process(merging.folder, experiment=merging.experiment)
    merging.site = merging.opened()
    assert merging.ask(merging.request)
    assert merging.site._work is not None
    assert read_site(merging.state / merging.experiment.id).state == "finished"
