"""A server that was killed tells its jobs so when it is back: else they are RUNNING for ever, and cannot be ended."""

from nvflare.apis.event_type import EventType
from nvflare.apis.fl_component import FLComponent
from nvflare.apis.fl_context import FLContext


class AbandonedJobs(FLComponent):
    """Marks the jobs that a former process of the server left running as FINISHED:ABANDONED."""

    def handle_event(self, event_type: str, fl_ctx: FLContext) -> None:
        """Do it once, when the server has started and runs no job yet."""
        if event_type == EventType.SYSTEM_START:
            fl_ctx.get_engine().job_runner.update_unfinished_jobs(fl_ctx)
