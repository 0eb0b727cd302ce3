"""What may leave a site for the server: an answer, rebuilt from fields that the site itself can check. Nothing else."""

import hashlib
from typing import Any

from nvflare.apis.dxo import DXO, DataKind, from_shareable
from nvflare.apis.filter import Filter
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import ReturnCode, Shareable, make_reply

from mdhfl.digests import list_digest
from mdhfl.flare import places
from mdhfl.flare.logs import PlainLog
from mdhfl.sharing.messages import Answer, Request
from mdhfl.sharing.packing import pack
from mdhfl.site.border import Border

BARE_CODES = (  # replies that say no more than this
    ReturnCode.TASK_ABORTED,
    ReturnCode.EXECUTION_EXCEPTION,
    ReturnCode.EXECUTION_RESULT_ERROR,
    ReturnCode.BAD_TASK_DATA,
    ReturnCode.TASK_RESULT_FILTER_ERROR,
)
ASKED = "mdhfl.asked"  # the request that is answered, from the executor: FLARE forgets a task before its filters run
NOTED = "mdhfl.noted"  # digest of the answer that another such filter has written down


class OnlyAnswers(PlainLog, Filter):
    """Let out what `site.border` makes of a result: an answer of the asked form, or a refusal in its place.

    It belongs into the site's `local/privacy.json`, which holds whatever a job says; our jobs name it, too. What it
    lets out is a new shareable: no header, no other key and no metadata of the result is in it.
    """

    def process(self, shareable: Shareable, fl_ctx: FLContext) -> Shareable:
        """Return the answer, rebuilt field by field, or what takes its place. Never raises."""
        try:
            code = shareable.get_return_code()
            if code not in (None, ReturnCode.OK):
                return make_reply(code if code in BARE_CODES else ReturnCode.EXECUTION_EXCEPTION)
            answer = self._passed(shareable, fl_ctx)
        except Exception:
            self.log_exception(fl_ctx, "a result was held back")
            return make_reply(ReturnCode.TASK_RESULT_FILTER_ERROR)
        return DXO(data_kind=DataKind.APP_DEFINED, data=answer.to_wire()).to_shareable()

    def _passed(self, shareable: Shareable, fl_ctx: FLContext) -> Answer:
        border = Border(places.own_settings(fl_ctx))
        request = fl_ctx.get_prop(ASKED)
        if not isinstance(request, Request):
            return border.unasked(_data_of(shareable))
        return let_out(border, _data_of(shareable), request, fl_ctx)


def let_out(border: Border, wire: Any, request: Request, fl_ctx: FLContext) -> Answer:
    """Check an answer as `Border.let_out` does, and write it down once, however many filters it passes.

    Args:
        border: the site's.
        wire: an answer's fields.
        request: what was asked.
        fl_ctx: of the task: it remembers what was written down.
    """
    answer = border.checked(wire, request)
    text, arrays = pack(answer.to_wire())
    digest = list_digest([text, *(hashlib.sha256(array.tobytes()).hexdigest() for array in arrays)])
    if fl_ctx.get_prop(NOTED) != digest:
        answer = border.noted(answer, request)
        fl_ctx.set_prop(NOTED, digest, private=True, sticky=False)
    return answer


def _data_of(shareable: Shareable) -> Any:
    try:
        dxo = from_shareable(shareable)
    except Exception:  # whatever stands in place of a DXO
        return None
    return dxo.data if dxo.data_kind == DataKind.APP_DEFINED else None
