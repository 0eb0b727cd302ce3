"""Nothing leaves a site that the filter does not allow."""

from dataclasses import replace

import numpy as np
import pytest
from fakes.messages import VALUES, answer
from nvflare.apis.dxo import DXO, DataKind, from_shareable
from nvflare.apis.fl_constant import ReturnCode
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable, make_reply

from mdhfl.flare.filters import OnlyAnswers
from mdhfl.sharing.messages import Answer
from mdhfl.sharing.packing import pack
from mdhfl.sharing.weights import Weights


def leaves(shareable: Shareable, *, kinds: tuple[str, ...] = ("knowledge",)) -> bool:
    """Whether a result gets through, and is then the same to the last field."""
    filtered = OnlyAnswers(may_leave=list(kinds)).process(shareable, FLContext())
    code = filtered.get_return_code()
    if code == ReturnCode.OK:
        before, after = (pack(from_shareable(each).data) for each in (shareable, filtered))
        assert before[0] == after[0]
        assert all(np.array_equal(a, b) for a, b in zip(before[1], after[1], strict=True))
        return True
    assert "DXO" not in filtered
    assert len(filtered) <= 1  # headers only
    return code != ReturnCode.TASK_RESULT_FILTER_ERROR


def as_result(answer: Answer) -> Shareable:
    return DXO(data_kind=DataKind.APP_DEFINED, data=answer.to_wire()).to_shareable()


def test_an_answer_leaves() -> None:
    assert leaves(as_result(answer()))
    assert leaves(as_result(Answer(site="a", round=0, refusal="no")))
    assert leaves(make_reply(ReturnCode.TASK_ABORTED))


WEIGHTS = Weights(
    values=np.zeros(1000, dtype=np.float32), layout="0" * 64, bundle="resnet10", images=800, site="a", round=2
)


@pytest.mark.parametrize("spoil", [{}, {"values": np.zeros((10, 10))}, {"layout": "x" * 5000}, {"images": [1, 2]}])
def test_weights_leave_only_where_the_job_is_for_weights_and_as_one_vector(spoil: dict) -> None:
    result = as_result(replace(answer(), shared=replace(WEIGHTS, **spoil)))
    assert not leaves(result)
    assert leaves(result, kinds=("weights",)) == (not spoil)


def test_an_error_reply_leaves_as_its_code_alone() -> None:
    reply = make_reply(ReturnCode.TASK_ABORTED)
    reply["model"] = np.zeros(1000)
    reply.set_header("model", np.zeros(1000))
    filtered = OnlyAnswers(may_leave=["knowledge"]).process(reply, FLContext())
    assert filtered.get_return_code() == ReturnCode.TASK_ABORTED
    assert "model" not in filtered
    assert filtered.get_header("model") is None


def test_headers_beside_an_answer_stay_at_the_site() -> None:
    result = as_result(answer())
    result.set_header("model", np.zeros(1000))
    assert OnlyAnswers(may_leave=["knowledge"]).process(result, FLContext()).get_header("model") is None


def with_field(**fields: object) -> Shareable:
    wire = {**answer().to_wire(), **fields}
    return DXO(data_kind=DataKind.APP_DEFINED, data=wire).to_shareable()


@pytest.mark.parametrize(
    "result",
    [
        DXO(data_kind=DataKind.WEIGHTS, data={"layer.weight": np.zeros((3, 3))}).to_shareable(),
        DXO(data_kind=DataKind.WEIGHT_DIFF, data={"layer.weight": np.zeros((3, 3))}).to_shareable(),
        Shareable({"weights": np.zeros(10)}),
        with_field(images=np.zeros((8, 3, 32, 32), dtype=np.uint8)),
        with_field(confusion=np.zeros((3, 32, 32))),
        with_field(confusion=np.zeros((999, 999))),
        with_field(validation={"accuracy": np.zeros((1000, 1000))}),
        with_field(about={"model": {"layer": [1.0, 2.0]}}),
        with_field(about={"pixels": [0.1, 0.2]}),
        with_field(about={"architecture": "A" * 5000}),
        with_field(about={str(i): 0.5 for i in range(1000)}),
        with_field(refusal="weights in base64 " * 1000),
        with_field(site={"weights": 1}),
        as_result(replace(answer(), shared=replace(answer().shared, values=np.zeros((852, 4000), dtype="f4")))),
    ],
)
def test_anything_else_is_held_back(result: Shareable) -> None:
    assert not leaves(result)


def test_knowledge_must_have_the_shape_that_it_claims() -> None:
    good = answer().shared
    assert good is not None
    subject = replace(good.subject, public_count=10)
    assert not leaves(as_result(replace(answer(), shared=replace(good, subject=subject))))
    assert VALUES.shape == (852, 13)
