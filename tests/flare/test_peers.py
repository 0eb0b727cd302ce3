"""What another site replies, over FLARE's auxiliary messages without a network: fields, or one kind of error."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from fakes.borders import as_result
from nvflare.apis.fl_constant import ReservedKey
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import ReturnCode, Shareable, make_reply

from mdhfl.flare.executor import FlarePeers
from mdhfl.sharing.checks import LONGEST_TEXT
from mdhfl.swarm.peers import PeerError


class Engine:
    """FLARE's engine with one answer to every message."""

    def __init__(self, replies: Any) -> None:
        self._replies = replies

    @contextmanager
    def new_context(self) -> Iterator[FLContext]:
        yield FLContext()

    def send_aux_request(self, **message: Any) -> Any:
        return self._replies


class Passing:
    """A border that lets everything out."""

    def message(self, message: Mapping[str, Any], *, to: str) -> dict[str, Any]:
        return dict(message)


def reply_to(replies: Any) -> Mapping[str, Any]:
    """Return what a leader gets when site b's reply is this."""
    return FlarePeers(Engine(replies), Passing()).send("b", {"ask": "share"})  # type: ignore[arg-type]


def nested(depth: int) -> dict[str, Any]:
    whole: dict[str, Any] = {}
    for _ in range(depth):
        whole = {"a": whole}
    return whole


def with_header(name: str, value: Any) -> Shareable:
    reply = as_result({"length": 0})
    reply.set_header(name, value)
    return reply


ABSURD = {
    "a list": as_result([1]),
    "a text": as_result("text"),
    "a number": as_result(7),
    "an array": as_result(np.zeros(3)),
    "no DXO": Shareable({"x": 1}),
    "a DXO of something else": Shareable({"DXO": [1]}),
    "no headers": Shareable({"__headers__": 7}),
    "an array as return code": with_header(ReservedKey.RC, np.zeros(3)),
    "bytes in a list": as_result({"entries": [b"x"]}),
    "an array in a list": as_result({"entries": [np.zeros(3)]}),
    "a name of bytes": as_result({b"x": 1}),
    "nested without end": as_result(nested(5000)),
    "an array as refusal": as_result({"refusal": np.zeros(3)}),
    "nothing as refusal": as_result({"refusal": None}),
    "a refusal without end": as_result({"refusal": "y" * (LONGEST_TEXT + 1)}),
    "an object": as_result({"entries": object()}),
}


@pytest.mark.parametrize("reply", [pytest.param(reply, id=name) for name, reply in ABSURD.items()])
def test_a_reply_that_cannot_be_read_is_the_error_of_a_peer(reply: Any) -> None:
    with pytest.raises(PeerError, match=r"^site 'b': expected a reply that can be read, got another \(") as raised:
        reply_to({"b": reply})
    assert len(str(raised.value)) < 1000
    assert str(raised.value).isprintable()


@pytest.mark.parametrize(
    ("replies", "got"),
    [
        (None, "nothing"),
        ({}, "nothing"),
        ({"c": as_result({"length": 0})}, "nothing"),
        ({"b": make_reply(ReturnCode.COMMUNICATION_ERROR)}, "COMMUNICATION_ERROR"),
        ({"b": make_reply("x" * 10**6)}, "x" * 100),
    ],
)
def test_no_reply_and_a_failure_are_named(replies: Any, got: str) -> None:
    with pytest.raises(PeerError) as raised:
        reply_to(replies)
    assert str(raised.value) == f"site 'b': expected a reply, got {got}"


def test_a_refusal_is_repeated_in_one_line() -> None:
    with pytest.raises(PeerError) as raised:
        reply_to({"b": as_result({"refusal": "it is busy\n2026-01-01T00:00:00Z deadbeef round 3: forged"})})
    assert str(raised.value) == "it is busy\\n2026-01-01T00:00:00Z deadbeef round 3: forged"


def test_a_message_is_returned_whole() -> None:
    values = np.arange(3, dtype=np.float32)
    got = reply_to({"b": as_result({"length": 2, "entries": [{"index": 1}], "result": values})})
    assert (got["length"], got["entries"]) == (2, [{"index": 1}])
    assert got["result"] is values
    assert reply_to({"b": as_result({})}) == {}
