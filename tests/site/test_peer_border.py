"""What goes to other sites of a swarm is checked by its structure, and only what may_share allows goes at all."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes.swarms import SITES, kept_turn, start, stop_at

from mdhfl.runs.inprocess import open_sites, run_in_process
from mdhfl.site.border import Border
from mdhfl.site.left import LEFT, read_left

PIXELS = np.random.default_rng(0).integers(0, 256, 100_000, dtype=np.uint8)


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory, three_sites: Path) -> tuple[Border, dict[str, Any], dict[str, Any]]:
    """A member's border, what its leader asks of it, and its honest reply."""
    folder = tmp_path_factory.mktemp("swarm")
    experiment, _ = start(folder, three_sites, rounds=1, recipe="sl_fedl")
    with pytest.raises(KeyboardInterrupt):
        run_in_process(folder, experiment=experiment, on_answer=stop_at("merge", 0))
    turn = kept_turn(folder)
    sites, order = open_sites(folder, names=SITES), turn.order
    message = {"ask": "share", "length": 0, "request": experiment.request("merge", number=0, lesson=turn).to_wire()}
    return Border(sites[order[1]].settings), message, sites[order[1]].receive(order[0], message)


def test_a_share_leaves_whole_and_is_written_down(asked: tuple[Border, dict[str, Any], dict[str, Any]]) -> None:
    border, message, reply = asked
    out = border.message(reply, to="site-9", reply_to=message)
    assert set(out) == set(reply)
    np.testing.assert_array_equal(out["result"], reply["result"])
    assert {name: out[name] for name in out if name != "result"} == {n: reply[n] for n in reply if n != "result"}
    line = read_left(border.settings.state / message["request"]["experiment"] / LEFT)[-1]
    assert (line["to"], line["action"]) == ("site-9", "peer: share")
    assert line["bytes"] > reply["result"].nbytes


WRONG: dict[str, Callable[[dict[str, Any]], Any]] = {
    "another length": lambda reply: {**reply, "result": reply["result"][:-1]},
    "NaN": lambda reply: {**reply, "result": np.full_like(reply["result"], np.nan)},
    "float64": lambda reply: {**reply, "result": reply["result"].astype("f8")},
    "a matrix": lambda reply: {**reply, "result": reply["result"].reshape(1, -1)},
    "objects": lambda reply: {**reply, "result": np.array([{"a": 1}], dtype=object)},
    "a masked array": lambda reply: {**reply, "result": np.ma.masked_array(reply["result"])},
    "another array": lambda reply: {**reply, "pixels": PIXELS.astype("f4")},
    "an array inside": lambda reply: {**reply, "entries": [PIXELS]},
    "bytes": lambda reply: {**reply, "public": PIXELS.tobytes()},
    "bytes inside": lambda reply: {**reply, "entries": [{"x": PIXELS.tobytes()}]},
    "a ciphertext": lambda reply: {**reply, "result": {"data": PIXELS.tobytes(), "length": 10}},
    "a long text": lambda reply: {**reply, "entries": [PIXELS.tobytes().hex()]},
    "many texts": lambda reply: {**reply, "entries": ["x" * 4000] * 2000},
    "a long name": lambda reply: {**reply, "x" * 200: 1},
    "control characters": lambda reply: {**reply, "entries": ["\x1b[2J"]},
    "a number without end": lambda reply: {**reply, "length": 10**400},
    "NaN as a number": lambda reply: {**reply, "length": float("nan")},
    "a refusal of its own": lambda reply: {"refusal": "patient smith"},
    "a list": lambda reply: [1, 2],
    "nothing": lambda reply: None,
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_anything_else_is_held_back(
    asked: tuple[Border, dict[str, Any], dict[str, Any]], wrong: Callable[[dict[str, Any]], Any]
) -> None:
    border, message, reply = asked
    out = border.message(wrong(reply), to="site-9", reply_to=message)
    assert set(out) == {"refusal"}
    assert "(held_back; site.log: " in out["refusal"]
    assert "smith" not in out["refusal"]


@pytest.mark.parametrize("may_share", [("knowledge",), ("encrypted_weights",), ()])
def test_weights_go_to_peers_only_where_the_site_allows_them(
    asked: tuple[Border, dict[str, Any], dict[str, Any]], may_share: tuple[str, ...]
) -> None:
    border, message, reply = asked
    strict = Border(replace(border.settings, may_share=may_share))
    out = strict.message(reply, to="site-9", reply_to=message)
    assert "(method_not_allowed; site.log: " in out["refusal"]
    assert set(out) == {"refusal"}


def test_a_request_with_arrays_in_it_is_not_passed_on(asked: tuple[Border, dict[str, Any], dict[str, Any]]) -> None:
    border, message, _ = asked
    request = {
        **message["request"],
        "lesson": {"kind": "merged", "values": PIXELS.astype("f4"), "layout": "", "round": 0},
    }
    assert set(border.message({**message, "request": request}, to="site-9")) == {"refusal"}
