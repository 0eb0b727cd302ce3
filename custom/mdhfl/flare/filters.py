"""What may leave a site: an answer with its scores and, of what it shares, the kinds that are allowed. Nothing else."""

from nvflare.apis.dxo import DXO, DataKind, from_shareable
from nvflare.apis.filter import Filter
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import ReturnCode, Shareable, make_reply

from mdhfl.flare.logs import PlainLog
from mdhfl.sharing.checks import MessageError
from mdhfl.sharing.messages import Answer


class OnlyAnswers(PlainLog, Filter):
    """Let an answer through that is well-formed and shares an allowed kind; hold back everything else.

    Put it into the job (as our jobs do) or, to enforce it whatever a job says, into the site's `local/privacy.json`.
    A result that is held back is replaced by an error reply; nothing of it leaves.
    """

    def __init__(self, *, may_leave: list) -> None:
        """Take what may leave.

        Args:
            may_leave: kinds of shared things, for example ["knowledge"]; [] for scores alone.
        """
        super().__init__()
        self.may_leave = may_leave

    def process(self, shareable: Shareable, fl_ctx: FLContext) -> Shareable:
        """Return the answer, rebuilt field by field, or an error reply in its place."""
        if shareable.get_return_code() not in (None, ReturnCode.OK):
            return make_reply(shareable.get_return_code())  # the code alone leaves, not what hangs on it
        try:
            answer = self._checked(shareable)
        except MessageError as reason:
            self.log_error(fl_ctx, f"a result was held back: {reason}")
            return make_reply(ReturnCode.TASK_RESULT_FILTER_ERROR)
        return DXO(data_kind=DataKind.APP_DEFINED, data=answer.to_wire()).to_shareable()

    def _checked(self, shareable: Shareable) -> Answer:
        try:
            dxo = from_shareable(shareable)
        except ValueError:
            raise MessageError("expected a DXO with an answer, got another shareable") from None
        if dxo.data_kind != DataKind.APP_DEFINED:
            raise MessageError(f"expected data kind {DataKind.APP_DEFINED}, got {dxo.data_kind}")
        answer = Answer.from_wire(dxo.data)
        if answer.shared is not None and answer.shared.kind not in self.may_leave:
            allowed = ", ".join(self.may_leave) or "no more than scores"
            raise MessageError(f"it holds {answer.shared.kind}, and only {allowed} may leave")
        return answer
