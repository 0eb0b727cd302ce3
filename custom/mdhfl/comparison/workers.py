"""The processes that do a comparison's tasks on this machine. None outlives the comparison, however that ends."""

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import active_children, get_context
from typing import Any, Protocol

from mdhfl.comparison.tasks import Outcome, attempt
from mdhfl.runs.signals import die_with, heard_once

PATIENCE = 5.0  # seconds until killed processes are gone


class Job(Protocol):
    """A task that was handed in."""

    def done(self) -> bool:
        """Return whether it has ended, well or not."""

    def result(self) -> Any:
        """Return its outcome. Raises if its process could not give one."""


class Executor(Protocol):
    """Does tasks in processes of its own."""

    def submit(self, task: Callable[..., Any], *arguments: Any) -> Job:
        """Hand a task in; its job's result is an `Outcome`."""

    def close(self) -> None:
        """End the processes; all tasks have ended."""

    def kill(self) -> None:
        """End the processes, whatever they are doing: every finished round is on disk."""


class LocalWorkers:
    """As many processes as tasks at a time; each imports torch once."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._strangers = set(active_children())
        self._pool = self._open()

    def submit(self, task: Callable[..., Any], *arguments: Any) -> "Future[Outcome]":
        """Hand a task in. Where a process was killed, others take its place."""
        with _unheard(signal.SIGINT):  # so that the processes, which inherit that, leave Ctrl-C to this one
            try:
                return self._pool.submit(attempt, task, *arguments)
            except BrokenProcessPool:
                self._pool = self._open()
                return self._pool.submit(attempt, task, *arguments)

    def close(self) -> None:
        """End the processes."""
        self._pool.shutdown()

    def kill(self) -> None:
        """Kill the processes, and what they have started."""
        import psutil

        family = []
        for child in set(active_children()) - self._strangers:
            with contextlib.suppress(psutil.NoSuchProcess):
                own = psutil.Process(child.pid)
                family += [own, *own.children(recursive=True)]
        self._pool.shutdown(wait=False, cancel_futures=True)
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(family, timeout=PATIENCE)

    def _open(self) -> ProcessPoolExecutor:
        context = get_context("spawn")
        return ProcessPoolExecutor(
            max_workers=self._count, mp_context=context, initializer=die_with, initargs=(os.getpid(),)
        )


@contextlib.contextmanager
def stopped_once(executor: Executor) -> Iterator[None]:
    """Kill an executor's processes when this one is stopped meanwhile (Ctrl-C, SIGTERM); hear no second one till then.

    Only the main thread may decide about signals; in another, an exception ends the processes.
    """
    with heard_once(signal.SIGINT, signal.SIGTERM):
        try:
            yield
        except BaseException:
            executor.kill()
            raise
        executor.close()


@contextlib.contextmanager
def _unheard(number: signal.Signals) -> Iterator[None]:
    """Let a signal wait meanwhile; processes that are started never hear it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {number})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
