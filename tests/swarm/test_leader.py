"""Whatever one member replies to the leader of a merge, the others' models are merged without it."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes.answers import EXPERIMENT
from fakes.swarms import KEYS, SITES, drawn

from mdhfl.sharing.weights import Weights
from mdhfl.swarm.kept import Kept
from mdhfl.swarm.leader import Ahead, lead
from mdhfl.swarm.membership import Membership
from mdhfl.swarm.peers import PeerError

Reply = Callable[[], Any]
TURN = drawn()
LEADER, ODD, HONEST = TURN.order


def values_of(site: str) -> np.ndarray:
    return np.full(4, 1 + SITES.index(site), dtype=np.float32)


def weights_of(site: str) -> Weights:
    return Weights(values=values_of(site), layout="l", bundle="net", images=1, site=site, round=0)


def share_of(site: str) -> dict[str, Any]:
    """What an honest member replies that has an empty ledger."""
    return {"length": 0, "entries": [], "result": values_of(site)}


class Members:
    """The other sites; one of them replies to one question as it likes.

    Attributes:
        adopted: the sites that were sent the merge.
    """

    def __init__(self, ask: str, reply: Reply) -> None:
        self._ask, self._reply = ask, reply
        self.adopted: list[str] = []

    def send(self, site: str, message: Mapping[str, Any]) -> Any:
        if message["ask"] == "adopt":
            self.adopted.append(site)
        if (site, message["ask"]) == (ODD, self._ask):
            return self._reply()
        return share_of(site) if message["ask"] == "share" else {}


def led(folder: Path, members: Members) -> Kept:
    """Return what the leader keeps of a merge."""
    swarm = Membership(site=LEADER, experiment="x", folder=folder / "e", peers=members, encrypted=False)
    swarm.key = KEYS[LEADER]
    swarm.checked_turn = lambda request, own: TURN  # type: ignore[method-assign]  # the draw is tested elsewhere
    return lead(swarm, EXPERIMENT.request("merge", number=0, lesson=TURN), weights_of(LEADER))


def nested() -> dict[str, Any]:
    whole: dict[str, Any] = {}
    for _ in range(5000):
        whole = {"a": whole}
    return whole


def raising(error: Exception) -> Reply:
    def reply() -> Any:
        raise error

    return reply


ABSURD: dict[str, Reply] = {
    "a list": lambda: [1],
    "nothing": lambda: None,
    "no fields": dict,
    "bytes in a list": lambda: {**share_of(ODD), "entries": [b"x"]},
    "nested without end": lambda: {**share_of(ODD), "entries": nested()},
    "an array for a flag": lambda: {**share_of(ODD), "ahead": np.zeros(2)},
    "an array for a length": lambda: {**share_of(ODD), "length": np.zeros(2)},
    "a length in a list": lambda: {**share_of(ODD), "length": [0]},
    "a number that is none": lambda: {**share_of(ODD), "length": float("nan")},
    "objects": lambda: {**share_of(ODD), "result": np.array([object()] * 4)},
    "a table": lambda: {**share_of(ODD), "result": {"data": b""}},
    "a refusal": raising(PeerError("no line")),
    "no memory": raising(MemoryError()),
    "a broken line": raising(AttributeError("'list' object has no attribute 'get'")),
}


@pytest.mark.parametrize("reply", [pytest.param(reply, id=name) for name, reply in ABSURD.items()])
def test_a_member_is_left_out_whatever_it_replies(reply: Reply, tmp_path: Path) -> None:
    members = Members("share", reply)
    kept = led(tmp_path, members)
    assert set(kept.ledger.entries[-1].shares) == {LEADER, HONEST}
    assert members.adopted == [HONEST]
    assert kept.merged is not None
    np.testing.assert_array_equal(kept.merged.values, (values_of(LEADER) + values_of(HONEST)) / 2)


@pytest.mark.parametrize("reply", [pytest.param(reply, id=name) for name, reply in ABSURD.items()])
def test_the_merge_reaches_the_others_whatever_a_member_replies_to_it(reply: Reply, tmp_path: Path) -> None:
    members = Members("adopt", reply)
    kept = led(tmp_path, members)
    assert set(kept.ledger.entries[-1].shares) == set(SITES)
    assert set(members.adopted) == {ODD, HONEST}


def test_a_member_that_is_ahead_ends_the_merge(tmp_path: Path) -> None:
    with pytest.raises(Ahead, match=f"site '{ODD}' has already learned from a merge of round 0"):
        led(tmp_path, Members("share", lambda: {"ahead": True}))


def test_too_few_shares_say_what_each_member_replied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    members = Members("share", dict)
    monkeypatch.setattr(members, "send", lambda site, message: {} if site == ODD else [1])
    with pytest.raises(ValueError, match="expected models of at least 2 sites, got 1") as raised:
        led(tmp_path, members)
    assert f"{ODD}: KeyError('result')" in str(raised.value)
    assert f"{HONEST}: AttributeError(" in str(raised.value)
