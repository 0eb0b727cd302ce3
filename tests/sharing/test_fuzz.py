"""Mutated messages of every method: a sample of what `make fuzz` does by the million, and hypothesis beside it."""

import copy
import json
from random import Random
from typing import Any

import numpy as np
import pytest
from fuzz.cases import answer_case, case
from fuzz.scripted import SCRIPTS
from hypothesis import given, settings
from hypothesis import strategies as st

from mdhfl.sharing import accounts, weights
from mdhfl.sharing.checks import MessageError
from mdhfl.sharing.messages import Answer, Request

SAMPLE = [number for number in range(3000) if number % 100 > 1]  # without the real site, which `make fuzz` asks too


@pytest.mark.parametrize("part", range(5))
def test_no_mutated_message_does_more_than_get_its_sender_refused(part: int) -> None:
    outcomes = [case(2, number)[1] for number in SAMPLE[part::5]]
    assert outcomes.count("accepted") > 20  # and not all are refused: the sample reaches what lies behind the checks
    assert outcomes.count("refused") > 300


def test_the_sample_finds_a_number_that_nobody_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts, "number", lambda value, **_: value)
    with pytest.raises((ValueError, TypeError)):
        all(case(2, number) for number in SAMPLE[:1500])


def test_the_sample_finds_weights_that_nobody_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "_check_entries", lambda values, *, who: None)
    fedavg = next(script for script in SCRIPTS if script.name == "fedavg")
    with pytest.raises(AssertionError, match="not finite"):
        all(answer_case(fedavg, number, Random(number)) for number in range(1, 1000))


ANYTHING: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.binary(max_size=5)
    | st.sampled_from([np.float32(1), np.zeros(2), np.array(["x"]), np.array([None])]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def places(value: Any, at: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Return the way to every field of a message."""
    if not isinstance(value, dict):
        return []
    return [way for key, part in value.items() for way in [(*at, key), *places(part, (*at, key))]]


def with_changed(wire: dict[str, Any], way: tuple[str, ...], value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(wire)
    inner = changed
    for key in way[:-1]:
        inner = inner[key]
    inner[way[-1]] = value
    return changed


@settings(max_examples=300, deadline=None)
@given(data=st.data(), value=ANYTHING)
def test_any_value_in_a_field_of_an_answer_is_refused_or_strict_json(data: st.DataObject, value: Any) -> None:
    script = data.draw(st.sampled_from(SCRIPTS))
    wire = script.honest("site-1", script.asked[0]).to_wire()
    changed = with_changed(wire, data.draw(st.sampled_from(places(wire))), value)
    try:
        answer = Answer.from_wire(changed)
    except MessageError:
        return
    plain = {name: part for name, part in answer.to_wire().items() if name not in ("shared", "confusion", "control")}
    json.dumps(plain, allow_nan=False)


@settings(max_examples=300, deadline=None)
@given(data=st.data(), value=ANYTHING)
def test_any_value_in_a_field_of_a_request_is_refused_or_of_its_type(data: st.DataObject, value: Any) -> None:
    script = data.draw(st.sampled_from(SCRIPTS))
    wire = data.draw(st.sampled_from(script.asked)).to_wire()
    changed = with_changed(wire, data.draw(st.sampled_from(places(wire))), value)
    try:
        request = Request.from_wire(changed)
    except MessageError:
        return
    assert {name: type(part) for name, part in request.to_wire().items() if name != "lesson"} == {
        name: type(part) for name, part in wire.items() if name != "lesson"
    }
