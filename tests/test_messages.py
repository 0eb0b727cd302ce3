"""What travels survives the wire, and its bytes are one matrix each way."""

import numpy as np

from mdhfl.knowledge import Knowledge, Subject
from mdhfl.messages import Answer, Request, payload_bytes
from mdhfl.teaching import Teaching

SUBJECT = Subject(kind="probabilities", public_digest="a" * 64, public_count=852, classes=tuple("abcdefghijklm"))
VALUES = np.full((852, 13), 1 / 13, dtype=np.float32)


def request() -> Request:
    return Request(
        action="learn", experiment="e", round=2, method="mdhfl", parameters={"ce_weight": 0.1}, seed=0, subject=SUBJECT,
        version="0", lesson=Teaching(values=VALUES, weights={"a": 1.0}, round=1),
    )  # fmt: skip


def answer() -> Answer:
    return Answer(
        site="a",
        round=2,
        knowledge=Knowledge(values=VALUES, subject=SUBJECT, site="a", round=2),
        confusion=np.eye(13, dtype=np.int32),
        losses={"train": 0.123456789, "align": None},
    )


def test_a_request_and_an_answer_survive_the_wire() -> None:
    again = Request.from_wire(request().to_wire())
    assert again.subject == SUBJECT
    assert again.lesson is not None
    np.testing.assert_array_equal(again.lesson.values, VALUES)
    back = Answer.from_wire(answer().to_wire())
    assert back.knowledge is not None
    assert back.knowledge.subject == SUBJECT
    np.testing.assert_array_equal(back.knowledge.values, VALUES)
    assert back.losses == {"train": 0.123456789, "align": None}


def test_a_message_is_one_matrix_and_little_more() -> None:
    for message in (request(), answer()):
        assert VALUES.nbytes <= payload_bytes(message) <= 1.05 * VALUES.nbytes
