"""The protocol is read before anything else of a message; and whoever changes a message's fields must raise it."""

import json
from pathlib import Path
from typing import Any

import pytest
from fakes.answers import EXPERIMENT, answer_of
from fakes.messages import answer, request
from hypothesis import given
from hypothesis import strategies as st
from nvflare.apis.dxo import DXO, DataKind

from mdhfl import __version__
from mdhfl.flare.controller import read_answer
from mdhfl.hosting.pieces import Piece, Question
from mdhfl.sharing.accounts import About, Control, Cost, Losses, Validation
from mdhfl.sharing.knowledge import Subject
from mdhfl.sharing.messages import Answer, Request
from mdhfl.sharing.protocol import PROTOCOL, OtherProtocol
from mdhfl.sharing.reasons import is_sentence
from mdhfl.sharing.records import Lesson, Shared
from mdhfl.site.log import refusal_of

FIELDS = Path(__file__).with_name("protocol.json")
MESSAGES = [(Request, request), (Answer, answer)]


@pytest.mark.parametrize(("kind", "make"), MESSAGES)
@given(got=st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.integers())))
def test_another_protocol_is_named_before_anything_else_is_read(kind: Any, make: Any, got: Any) -> None:
    wire = make().to_wire()
    if type(got) is int and got == PROTOCOL:
        assert kind.from_wire({**wire, "protocol": got})
        return
    for other in ({**wire, "protocol": got}, {**wire, "protocol": got, "more": 1}, {"protocol": got}):
        with pytest.raises(OtherProtocol, match=f"expected protocol {PROTOCOL}, as mdhfl {__version__} here speaks it"):
            kind.from_wire(other)


@pytest.mark.parametrize(("kind", "make"), MESSAGES)
def test_a_message_of_version_0_1_0_is_one_of_another_protocol(kind: Any, make: Any) -> None:
    wire = make().to_wire()
    del wire["protocol"]
    with pytest.raises(OtherProtocol, match="got none"):
        kind.from_wire(wire)


def test_a_site_says_which_version_it_runs_and_the_server_which_protocol_came(tmp_path: Path) -> None:
    asked = {**request().to_wire(), "protocol": PROTOCOL + 1, "version": "9.9.0"}
    with pytest.raises(OtherProtocol, match=rf"got int {PROTOCOL + 1} from mdhfl text '9.9.0'") as error:
        Request.from_wire(asked)
    told = refusal_of(error.value, site="site-1", round=-1, state=tmp_path)
    assert f'it runs mdhfl "{__version__}"' in told
    assert is_sentence(told, site="site-1", names={__version__})
    asked_now = EXPERIMENT.request("open", number=0)
    wire = {**answer_of("a", asked_now).to_wire(), "protocol": PROTOCOL + 1}
    got = read_answer(DXO(data_kind=DataKind.APP_DEFINED, data=wire).to_shareable(), asked_now, site="a")
    assert f"expected protocol {PROTOCOL}" in got.refusal
    assert got.shared is None


def test_other_fields_are_another_protocol() -> None:
    """The fields of every record that travels, as protocol.json has them."""
    records = [Request, Answer, Subject, About, Cost, Losses, Validation, Control, Question, Piece]
    now = {record.__name__: sorted(record.__dataclass_fields__) for record in records}
    kinds = [*Lesson.kinds.values(), *Shared.kinds.values()]
    now |= {kind.__name__: sorted(kind.sent()) for kind in kinds if kind.__module__.startswith("mdhfl.")}
    found = json.loads(json.dumps({"protocol": PROTOCOL, "fields": dict(sorted(now.items()))}))
    assert found == json.loads(FIELDS.read_text()), (
        f"messages have other fields: raise PROTOCOL in sharing/protocol.py (since its last release), and write this "
        f"to {FIELDS.name}:\n{json.dumps(found, indent=1)}"
    )
