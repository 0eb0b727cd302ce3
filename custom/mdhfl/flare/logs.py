"""FLARE's log as our components write it: one line a record, so that no text of others can forge another record."""

from nvflare.apis.fl_component import FLComponent
from nvflare.apis.fl_context import FLContext
from nvflare.security.logging import secure_format_traceback

from mdhfl.showing.texts import one_line


class PlainLog(FLComponent):
    """Stands before FLARE's own class among a component's bases."""

    def log_info(self, fl_ctx: FLContext, msg: object, fire_event: bool = False) -> None:
        """Log one line."""
        super().log_info(fl_ctx, one_line(msg), fire_event)

    def log_warning(self, fl_ctx: FLContext, msg: object, fire_event: bool = True) -> None:
        """Log one line."""
        super().log_warning(fl_ctx, one_line(msg), fire_event)

    def log_error(self, fl_ctx: FLContext, msg: object, fire_event: bool = True) -> None:
        """Log one line."""
        super().log_error(fl_ctx, one_line(msg), fire_event)

    def log_exception(self, fl_ctx: FLContext, msg: object, fire_event: bool = False) -> None:
        """Log one line, and each line of the traceback as a record of its own."""
        for line in [one_line(msg), *secure_format_traceback().splitlines()]:
            self.log_error(fl_ctx, line, fire_event)

    def system_panic(self, reason: object, fl_ctx: FLContext) -> None:
        """End the job; FLARE logs the reason."""
        super().system_panic(one_line(reason), fl_ctx)
