"""What travels survives the wire, and its bytes are one matrix each way."""

import numpy as np
from fakes.messages import SUBJECT, VALUES, answer, request

from mdhfl.sharing.accounts import Losses
from mdhfl.sharing.knowledge import Knowledge
from mdhfl.sharing.messages import Answer, Request
from mdhfl.sharing.packing import payload_bytes


def test_a_request_and_an_answer_survive_the_wire() -> None:
    again = Request.from_wire(request().to_wire())
    assert again.subject == SUBJECT
    assert again.lesson is not None
    np.testing.assert_array_equal(again.lesson.values, VALUES)
    back = Answer.from_wire(answer().to_wire())
    assert isinstance(back.shared, Knowledge)
    assert back.shared.subject == SUBJECT
    np.testing.assert_array_equal(back.shared.values, VALUES)
    assert back.losses == Losses(train=0.123456789)


def test_a_message_is_one_matrix_and_little_more() -> None:
    for message in (request(), answer()):
        assert VALUES.nbytes <= payload_bytes(message) <= 1.05 * VALUES.nbytes
