"""Nothing leaves a site but an answer of the asked form, whatever an executor hands to the filter."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes.borders import Asked, answer_in, as_result, ask_first, filtered
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nvflare.apis.dxo import DXO, DataKind
from nvflare.apis.fl_constant import ReturnCode
from nvflare.apis.shareable import Shareable, make_reply
from nvflare.apis.utils.decomposers import flare_decomposers
from nvflare.app_common.decomposers.numpy_decomposers import NumpyArrayDecomposer
from nvflare.fuel.utils import fobs

from mdhfl import __version__
from mdhfl.sharing.messages import Answer
from mdhfl.sharing.packing import pack, payload_bytes
from mdhfl.sharing.reasons import REASONS, is_sentence, sentence
from mdhfl.site.form import form_of, names_of

PIXELS = np.random.default_rng(0).integers(0, 256, 200_000, dtype=np.uint8)
TEXT = PIXELS.tobytes().hex()
MOST = 2000  # bytes of what may take an answer's place


@pytest.fixture(scope="module", autouse=True)
def what_flare_can_send() -> None:
    flare_decomposers.register()
    fobs.register(NumpyArrayDecomposer)


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory, federation: Path) -> Asked:
    return ask_first(tmp_path_factory.mktemp("asked") / "run", federation, recipe="mdhfl_plus", changes=QUICK)


QUICK = {"competence_epochs": 1, "control": True}


def bytes_of(shareable: Shareable) -> bytes:
    return bytes(fobs.dumps(dict(shareable)))


def wire_of(asked: Asked, *path: str, value: Any) -> dict[str, Any]:
    """The real answer with one field replaced, or a new one."""
    wire = asked.answer.to_wire()
    place: Any = wire
    for name in path[:-1]:
        place[name] = dict(place[name])
        place = place[name]
    place[path[-1]] = value
    return wire


def test_a_real_answer_leaves_whole_and_alone(asked: Asked) -> None:
    out = filtered(asked, as_result(asked.answer.to_wire()))
    before, after = pack(asked.answer.to_wire()), pack(answer_in(out).to_wire())
    assert before[0] == after[0]
    assert all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in zip(before[1], after[1], strict=True))
    assert set(out) == {"DXO", "__headers__"}
    assert len(bytes_of(out)) < payload_bytes(asked.answer) + 3000


def held_back(asked: Asked, result: Any) -> None:
    """What leaves is short, holds nothing of the result, and can be found in the site's log."""
    out = filtered(asked, result)
    assert len(bytes_of(out)) < MOST
    if out.get_return_code() == ReturnCode.OK:
        refusal = answer_in(out).refusal
        assert is_sentence(refusal, site="site-1", names=names_of(asked.settings, asked.request)), refusal
        assert answer_in(out) == Answer(site="site-1", round=0, refusal=refusal)
        assert refusal[-9:-1] in (asked.settings.state / "site.log").read_text()
    else:
        assert out.get_return_code() in (ReturnCode.EXECUTION_EXCEPTION, ReturnCode.TASK_RESULT_FILTER_ERROR)


def knowledge(asked: Asked, **changes: Any) -> dict[str, Any]:
    shared = {**asked.answer.to_wire()["shared"], **changes}
    return {**asked.answer.to_wire(), "shared": shared}


VALUES = (80, 3)  # 20 public images in 4 views, 3 classes
WRONG: dict[str, Callable[[Asked], Any]] = {
    "an array under an error code": lambda a: with_code(as_result(a.answer.to_wire()), ReturnCode.EXECUTION_EXCEPTION),
    "an unknown code": lambda a: with_code(as_result(a.answer.to_wire()), TEXT),
    "another kind of data": lambda a: DXO(data_kind=DataKind.WEIGHTS, data={"w": PIXELS}).to_shareable(),
    "no DXO": lambda a: Shareable({"weights": PIXELS}),
    "a list": lambda a: as_result([1, 2]),
    "nothing": lambda a: as_result({}),
    "more fields": lambda a: as_result({**a.answer.to_wire(), "pixels": PIXELS}),
    "more fields in what is shared": lambda a: as_result(knowledge(a, pixels=PIXELS)),
    "bytes": lambda a: as_result(knowledge(a, values=PIXELS.tobytes())),
    "more rows": lambda a: as_result(knowledge(a, values=np.full((VALUES[0] + 1, 3), 1 / 3, dtype="f4"))),
    "rows that sum to 2": lambda a: as_result(knowledge(a, values=np.full(VALUES, 2 / 3, dtype="f4"))),
    "NaN": lambda a: as_result(knowledge(a, values=np.full(VALUES, np.nan, dtype="f4"))),
    "negative": lambda a: as_result(knowledge(a, values=np.tile(np.array([1.5, -0.25, -0.25], "f4"), (VALUES[0], 1)))),
    **{
        f"dtype {dtype}": lambda a, dtype=dtype: as_result(knowledge(a, values=np.ones(VALUES).astype(dtype)))  # type: ignore[misc]
        for dtype in ("f8", "u1", "c8", "c16", "S5000", "U2000", "O", "M8[s]", ">f4", "f4,f4")
    },
    "a masked array": lambda a: as_result(
        knowledge(a, values=np.ma.masked_array(np.zeros(VALUES, "f4"), mask=True, fill_value=7))
    ),
    "a subject of its own": lambda a: as_result(
        knowledge(
            a, values=PIXELS[:, None].astype("f4"), subject={**subject(a), "public_count": 50_000, "classes": ["x"]}
        )
    ),
    **{
        f"subject: {name}": lambda a, name=name, value=value: as_result(  # type: ignore[misc]
            knowledge(a, subject={**subject(a), name: value})
        )
        for name, value in {
            "kind": TEXT, "public_digest": TEXT[:64], "public_count": 40, "classes": ["a", "b", TEXT[:90]], "views": 2,
        }.items()
    },
    "competences that are not rounded": lambda a: as_result(
        knowledge(a, competences=np.array([0.123456, 0.5, 0.5], "f4"))
    ),
    "a confidence of text": lambda a: as_result(knowledge(a, confidence=TEXT)),
    "weights": lambda a: as_result(
        {**a.answer.to_wire(), "shared": {"kind": "weights", "values": PIXELS.astype("f4"), "layout": "0" * 64,
                                          "bundle": "resnet10", "images": 24}}
    ),
    "a confusion matrix of pixels": lambda a: as_result(wire_of(a, "confusion", value=PIXELS[:9].reshape(3, 3))),
    "a larger confusion matrix": lambda a: as_result(wire_of(a, "confusion", value=PIXELS[:90_000].reshape(300, 300))),
    "a ragged confusion matrix": lambda a: as_result(wire_of(a, "confusion", value=[[1], [1, 2]])),
    "a control's confusion": lambda a: as_result(wire_of(a, "control", "confusion", value=PIXELS[:9].reshape(3, 3))),
    "a whole number without end": lambda a: as_result(wire_of(a, "test_ece", value=int(TEXT[:2000], 16))),
    "a refusal of its own": lambda a: as_result({**Answer(site="site-1", round=0).to_wire(), "refusal": TEXT[:4000]}),
    "a refusal with a name": lambda a: as_result(
        Answer(
            site="site-1", round=0,
            refusal=sentence("method_not_allowed", site="site-1", reference="0" * 8, permission="smith_john"),
        ).to_wire()
    ),
    "another site": lambda a: as_result(replace(a.answer, site="site-2").to_wire()),
    "another round": lambda a: as_result(replace(a.answer, round=7).to_wire()),
    "losses of text": lambda a: as_result(wire_of(a, "losses", value={"train": TEXT, "align": None})),
    "names as numbers of seconds": lambda a: as_result(wire_of(a, "cost", "seconds", value={TEXT: 1.0})),
    "about: a list": lambda a: as_result(wire_of(a, "about", value=[1, 2])),
    "validation: a matrix": lambda a: as_result(wire_of(a, "validation", "accuracy", value=np.zeros((500, 500)))),
    "nested": lambda a: as_result(wire_of(a, "about", value=nested(900))),
    "a leader of nobody's": lambda a: as_result(wire_of(a, "about", "merged_by", value=TEXT[:90])),
}  # fmt: skip


def subject(asked: Asked) -> dict[str, Any]:
    return dict(asked.answer.to_wire()["shared"]["subject"])


def with_code(result: Shareable, code: str) -> Shareable:
    result.set_return_code(code)
    result["pixels"] = PIXELS
    return result


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize("result", WRONG.values(), ids=WRONG)
def test_anything_else_is_held_back(asked: Asked, result: Callable[[Asked], Any]) -> None:
    held_back(asked, result(asked))


def test_what_hangs_on_an_answer_stays(asked: Asked) -> None:
    """Headers, cookies, other keys, metadata: the answer leaves without them."""
    result = as_result(asked.answer.to_wire(), meta={"pixels": PIXELS})
    result.set_header("pixels", PIXELS)
    result.set_cookie_jar({"pixels": TEXT})
    result["pixels"] = PIXELS
    out, alone = filtered(asked, result), filtered(asked, as_result(asked.answer.to_wire()))
    assert bytes_of(out) == bytes_of(alone)


def test_what_an_answer_says_of_its_site_is_what_the_site_says(asked: Asked) -> None:
    """Names and numbers that the site knows itself are not taken from the answer at all."""
    about = {**asked.answer.to_wire()["about"], "architecture": TEXT[:90], "layout": TEXT[:64], "parameters": 7,
             "training_images": 9, "missing_classes": ["blue"], "bundle": "smith", "withheld": ["john"]}  # fmt: skip
    out = filtered(asked, as_result(wire_of(asked, "about", value=about)))
    assert answer_in(out).about == asked.answer.about


def test_views_leave_without_what_they_are_views_of(asked: Asked) -> None:
    behind = np.concatenate([asked.answer.shared.values, np.full(VALUES, 7, "f4")], axis=1)  # type: ignore[union-attr]
    out = filtered(asked, as_result(knowledge(asked, values=behind[:, :3])))
    values = answer_in(out).shared.values  # type: ignore[union-attr]
    assert values.flags["C_CONTIGUOUS"]
    assert bytes_of(out) == bytes_of(filtered(asked, as_result(asked.answer.to_wire())))


@pytest.mark.parametrize(("code", "leaves"), [("TASK_ABORTED", "TASK_ABORTED"), ("x" * 500, "EXECUTION_EXCEPTION")])
def test_an_error_reply_leaves_as_its_code_alone(asked: Asked, code: str, leaves: str) -> None:
    reply = make_reply(code)
    reply["model"] = PIXELS
    reply.set_header("model", PIXELS)
    assert bytes_of(filtered(asked, reply)) == bytes_of(make_reply(leaves))


@pytest.mark.parametrize("code", REASONS)
def test_a_refusal_leaves_if_it_is_one_of_the_list(asked: Asked, code: str) -> None:
    fields = {
        "round": 3,
        "finished": 4,
        "expected": "0" * 8,
        "got": "1" * 8,
        "version": "site-1",
        "permission": "knowledge",
        "differs": "seed, bundle",
        "defence": "top_k",
    }
    refusal = sentence(code, site="site-1", reference="01234567", **fields)
    out = filtered(asked, as_result(Answer(site="site-1", round=0, refusal=refusal).to_wire()))
    assert answer_in(out).refusal == refusal


@pytest.mark.parametrize("request_", [None, Shareable(), {"action": "learn"}, "nothing"])
def test_a_task_that_is_no_request_gets_a_refusal(asked: Asked, request_: Any) -> None:
    out = filtered(asked, as_result(asked.answer.to_wire()), request=request_)
    assert len(bytes_of(out)) < MOST
    assert "(request; site.log: " in answer_in(out).refusal


def test_a_site_that_cannot_read_a_request_says_which_version_it_runs_and_nothing_else(asked: Asked) -> None:
    says = sentence("version", site="site-1", reference="0" * 8, version=__version__)
    out = filtered(asked, as_result(replace(asked.answer, round=-1, refusal=says).to_wire()), request=None)
    assert answer_in(out) == Answer(site="site-1", round=-1, refusal=says)
    other = sentence("version", site="site-1", reference="0" * 8, version="smith_john")
    out = filtered(asked, as_result(Answer(site="site-1", round=-1, refusal=other).to_wire()), request=None)
    assert "(request; site.log: " in answer_in(out).refusal


def test_without_settings_of_its_own_nothing_leaves(asked: Asked) -> None:
    nowhere = replace(asked, run=asked.run / "elsewhere")
    out = filtered(nowhere, as_result(asked.answer.to_wire()))
    assert out.get_return_code() == ReturnCode.TASK_RESULT_FILTER_ERROR
    assert len(bytes_of(out)) < MOST


def test_two_filters_in_a_row_let_out_the_same_and_write_it_down_once(asked: Asked) -> None:
    before = len(asked.left())
    twice = filtered(asked, as_result(asked.answer.to_wire()), filters=2)
    assert len(asked.left()) == before + 1
    assert bytes_of(twice) == bytes_of(filtered(asked, as_result(asked.answer.to_wire())))


# ------------------------------------------------------------------------------------------------- any mutated answer

PLAIN = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**6), 2**70), st.floats(), st.text(max_size=300), st.binary(max_size=300)
)
ARRAYS = st.builds(
    lambda dtype, shape, fill: np.full(shape, fill).astype(dtype),
    st.sampled_from(["f4", "f2", "f8", "u1", "i8", "c8", "?"]),
    st.sampled_from([VALUES, (3, 3), (3,), (0,), (80, 0), (2, 3, 4)]),
    st.sampled_from([0.0, 1 / 3, 1.0, -1.0, 1e30, np.inf]),
)
VALUES_OF_ALL_KINDS = st.recursive(
    PLAIN | ARRAYS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=20), inner, max_size=4),
    max_leaves=8,
)


def paths_of(value: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    if not isinstance(value, dict):
        return [path]
    return [path] * bool(path) + [found for name, part in value.items() for found in paths_of(part, (*path, name))]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_passes_is_its_checked_fields_and_no_larger(asked: Asked, data: st.DataObject) -> None:
    """Any field of a real answer is replaced by anything: it leaves re-encoded and within the budget, or not at all."""
    path = data.draw(st.sampled_from([*paths_of(asked.answer.to_wire()), ("more",)]))
    result = as_result(wire_of(asked, *path, value=data.draw(VALUES_OF_ALL_KINDS)))
    out = filtered(asked, result)
    assert out.get_return_code() in (ReturnCode.OK, ReturnCode.TASK_RESULT_FILTER_ERROR)
    if out.get_return_code() == ReturnCode.OK:
        answer = answer_in(out)
        assert payload_bytes(answer) <= form_of(asked.settings, asked.request).budget
        assert bytes_of(out) == bytes_of(as_result(Answer.from_wire(answer.to_wire()).to_wire()))
        assert not answer.refusal or answer == Answer(site="site-1", round=0, refusal=answer.refusal)
