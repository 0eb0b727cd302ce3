"""How a kit runs a job's process: if it is ours, tied to its parent, ended when it stands still, at a site once more.

The kit's `resources.json` names these classes, see `policy.py`. With FLARE's own, the death of one site's process ends
the job of all.
"""

import logging
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
from nvflare.apis.fl_constant import FLContextKey, JobConstants
from nvflare.apis.fl_context import FLContext
from nvflare.apis.job_launcher_spec import JobHandleSpec, JobReturnCode
from nvflare.app_common.job_launcher.client_process_launcher import ClientProcessJobLauncher
from nvflare.app_common.job_launcher.process_launcher import ProcessHandle
from nvflare.app_common.job_launcher.server_process_launcher import ServerProcessJobLauncher

from mdhfl.flare.job_form import SERVER_CONFIG, SITE_CONFIG, check_job

CHECK_PERIOD = 0.5  # seconds
LONGEST_STOP = 20.0  # seconds that a process may be stopped (SIGSTOP) before it is ended
MOST_RESTARTS = 5  # of a site's process in one job
# A process runs this before it becomes the job's: the kernel then kills it when its parent dies, even if it is stopped.
TIE = "import ctypes,os,sys;ctypes.CDLL(None).prctl(1,9);os.execv(sys.argv[1],sys.argv[1:])"


class WatchedProcess(JobHandleSpec):
    """A job's process and, when a signal has ended it, the next."""

    def __init__(self, start: Callable[[], ProcessHandle], *, restarts: int) -> None:
        """Start it.

        Args:
            start: starts a process.
            restarts: how often to start another when a signal that FLARE did not ask for has ended the last.

        Raises:
            Exception: what `start` raised.
        """
        super().__init__()
        self._start = start
        self._restarts = restarts
        self._log = logging.getLogger(type(self).__name__)
        self._lock = threading.Lock()  # between the end of a process and the start of the next
        self._process: ProcessHandle | None = None
        self._unwanted = False
        self._failed: Exception | None = None
        self._code = int(JobReturnCode.UNKNOWN)
        self._begun, self._ended = threading.Event(), threading.Event()
        # The kernel ties a process to the thread that started it: this one lives as long.
        threading.Thread(target=self._run, name="job process", daemon=True).start()
        self._begun.wait()
        if self._failed is not None:
            raise self._failed

    def terminate(self) -> None:
        """Kill the process, and start no other."""
        with self._lock:
            self._unwanted = True
            if self._process is not None:
                self._process.terminate()

    def poll(self) -> int:
        """Return FLARE's code of how it ended; UNKNOWN while it runs, and for a site's that died too often.

        FLARE ends the job for all when a site's process has failed, and goes on without one that it knows nothing of.
        """
        return self._code

    def wait(self) -> None:
        """Return when the last process has ended."""
        self._ended.wait()

    def _run(self) -> None:
        try:
            for left in range(self._restarts, -1, -1):
                with self._lock:
                    if self._unwanted:
                        break
                    process = self._process = self._start()
                self._begun.set()
                died = self._died(process)
                if not died or not self._restarts:
                    self._code = process.poll()
                    break
                self._log.error(f"the job's process was killed; restarts left: {left}")
        except Exception as error:
            self._failed = error
            self._log.exception("no process for the job")
        finally:
            self._begun.set()
            self._ended.set()

    def _died(self, process: ProcessHandle) -> bool:
        """Wait for the end of a process; say whether a signal caused it that FLARE did not ask for."""
        stopped_since: float | None = None
        while (code := process.adapter.poll()) is None:
            if not is_stopped(process.adapter.pid):
                stopped_since = None
            elif stopped_since is None:
                stopped_since = time.monotonic()
            elif time.monotonic() - stopped_since > LONGEST_STOP:
                self._log.error(f"the job's process has been stopped for {LONGEST_STOP:.0f} s: ending it")
                process.terminate()
            time.sleep(CHECK_PERIOD)
        return code < 0 and not self._unwanted


def is_stopped(pid: int) -> bool:
    """Return whether a process was stopped by a signal; False if there is none."""
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_STOPPED)
    except psutil.NoSuchProcess:
        return False


def _app_of(job_meta: dict, fl_ctx: FLContext) -> Path:
    """Return the folder into which FLARE has unpacked a job's app."""
    return Path(fl_ctx.get_prop(FLContextKey.WORKSPACE_OBJECT).get_app_dir(job_meta[JobConstants.JOB_ID]))


def tied(command: str) -> str:
    """Return a command that dies with its parent, where the system can do that (Linux)."""
    return f"{sys.executable} -I -c '{TIE}' {command}" if sys.platform == "linux" else command


class SiteLauncher(ClientProcessJobLauncher):
    """Starts a site's process of a job, again and again if need be: it continues from its state on disk."""

    def launch_job(self, job_meta: dict, fl_ctx: FLContext) -> WatchedProcess:
        """Start the process. FLARE keeps `fl_ctx` for this job, so its arguments serve again.

        Raises:
            ValueError: it is no job of ours.
        """
        check_job(_app_of(job_meta, fl_ctx), config=SITE_CONFIG, schema="job_site")
        start = super().launch_job
        return WatchedProcess(lambda: start(job_meta, fl_ctx), restarts=MOST_RESTARTS)

    def get_command(self, job_meta: dict, fl_ctx: FLContext) -> str:
        """Return FLARE's command, tied to this process."""
        return tied(super().get_command(job_meta, fl_ctx))


class ServerLauncher(ServerProcessJobLauncher):
    """Starts the server's process of a job. FLARE cannot restart that one: the job ends, and is submitted again."""

    def launch_job(self, job_meta: dict, fl_ctx: FLContext) -> WatchedProcess:
        """Start the process. Raises ValueError if it is no job of ours."""
        check_job(_app_of(job_meta, fl_ctx), config=SERVER_CONFIG, schema="job_server")
        start = super().launch_job
        return WatchedProcess(lambda: start(job_meta, fl_ctx), restarts=0)

    def get_command(self, job_meta: dict, fl_ctx: FLContext) -> str:
        """Return FLARE's command, tied to this process."""
        return tied(super().get_command(job_meta, fl_ctx))
