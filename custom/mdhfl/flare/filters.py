"""What may leave a site: an answer with knowledge (or, in methods that need it, weights) and scores, nothing else."""

from typing import Any

import numpy as np
from nvflare.apis.dxo import DataKind, from_shareable
from nvflare.apis.filter import Filter
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import ReturnCode, Shareable, make_reply

from mdhfl.sharing.messages import Answer

SCALAR = (int, float, bool, type(None))
LONGEST_NAME, LONGEST_REFUSAL = 100, 4000  # characters
MOST_ENTRIES, MOST_NAMES = 16, 1000


class OnlyAnswers(Filter):
    """Refuse every result that is not an answer and no more.

    A refused result is replaced by an error reply; nothing of it leaves.
    """

    weights_may_leave = False

    def process(self, shareable: Shareable, fl_ctx: FLContext) -> Shareable:
        """Return the shareable unchanged, or an error reply in its place."""
        if shareable.get_return_code() not in (None, ReturnCode.OK):
            return shareable
        reason = self._reason_against(shareable)
        if reason:
            self.log_error(fl_ctx, f"a result was held back: {reason}")
            return make_reply(ReturnCode.TASK_RESULT_FILTER_ERROR)
        return shareable

    def _reason_against(self, shareable: Shareable) -> str:
        try:
            dxo = from_shareable(shareable)
        except ValueError:
            return "expected a DXO with an answer, got another shareable"
        if dxo.data_kind != DataKind.APP_DEFINED:
            return f"expected data kind {DataKind.APP_DEFINED}, got {dxo.data_kind}"
        try:
            answer = Answer.from_wire(dxo.data)
        except (KeyError, TypeError) as error:
            return f"expected the fields of an answer ({error})"
        return reason_against(answer, weights_may_leave=self.weights_may_leave)


class OnlyKnowledge(OnlyAnswers):
    """Let an answer through that is made of (N, C) knowledge, a (C, C) confusion matrix and scalars.

    Put it into the job (as our jobs do) or, to enforce it whatever a job says, into the site's `local/privacy.json`.
    """


class OnlyWeights(OnlyAnswers):
    """As OnlyKnowledge, but one vector of weights may leave: the jobs of weight-sharing methods carry it."""

    weights_may_leave = True


def reason_against(answer: Answer, *, weights_may_leave: bool) -> str:
    """Return why an answer must not leave a site, empty if it may."""
    knowledge, confusion, weights = answer.knowledge, answer.confusion, answer.weights
    if weights is not None:
        if not weights_may_leave:
            return "it holds weights, and only knowledge may leave"
        if not isinstance(weights.values, np.ndarray) or weights.values.ndim != 1 or not _is_short(weights.layout):
            return "expected weights as one vector of one layout"
        if not _is_short(weights.bundle) or not isinstance(weights.images, int):
            return "expected the weights' bundle as a short name, and a number of images"
    if knowledge is not None:
        subject = knowledge.subject
        allowed = (subject.public_count, len(subject.classes))
        if not isinstance(knowledge.values, np.ndarray) or knowledge.values.shape != allowed:
            return f"expected knowledge of shape {allowed}"
        if confusion is not None and np.shape(confusion) != (allowed[1], allowed[1]):
            return f"expected a confusion matrix of shape {(allowed[1], allowed[1])}"
    elif confusion is not None and (np.ndim(confusion) != 2 or len(set(np.shape(confusion))) != 1):
        return f"expected a square confusion matrix, got shape {np.shape(confusion)}"
    return _reason_against_the_rest(answer)


def _reason_against_the_rest(answer: Answer) -> str:
    """Scalars and short names only: nothing long enough to hold a weight or a pixel."""
    if not isinstance(answer.refusal, str) or len(answer.refusal) > LONGEST_REFUSAL:
        return f"expected a refusal of at most {LONGEST_REFUSAL} characters"
    rest = {"site": answer.site, "round": answer.round, "test_ece": answer.test_ece, "best": answer.best}
    if answer.knowledge is not None:
        rest["confidence"] = answer.knowledge.confidence
    for name in ("validation", "losses", "seconds", "peer_bytes", "about"):
        entries = getattr(answer, name)
        if len(entries) > MOST_ENTRIES:
            return f"expected at most {MOST_ENTRIES} entries in {name}, got {len(entries)}"
        rest |= {f"{name}[{key!r}]": value for key, value in entries.items()}
    for place, value in rest.items():
        if not _is_short(value):
            return f"expected {place} to be a scalar, a short name or a list of these names, got {type(value).__name__}"
    return ""


def _is_short(value: Any) -> bool:
    if isinstance(value, list):
        return len(value) <= MOST_NAMES and all(isinstance(item, str) and _is_short(item) for item in value)
    if isinstance(value, str):
        return len(value) <= LONGEST_NAME
    return isinstance(value, SCALAR)
