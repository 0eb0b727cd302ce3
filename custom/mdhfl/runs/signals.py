"""What ends a program that has started others: it ends them first, undisturbed, and they never outlive it."""

import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from threading import current_thread, main_thread
from typing import Any

Handler = Callable[[int, Any], None] | signal.Handlers
DIE_WITH_PARENT = 1  # prctl(2), PR_SET_PDEATHSIG


@contextmanager
def ended_by(*signals: signal.Signals) -> Iterator[None]:
    """Let signals raise SystemExit meanwhile, except those that are ignored."""
    with _handled(signals, by=lambda number, _frame: sys.exit(128 + number)):
        yield


@contextmanager
def heard_once(*signals: signal.Signals) -> Iterator[None]:
    """Let the first of some signals raise SystemExit, or KeyboardInterrupt for Ctrl-C, and ignore every further one.

    Those that are ignored stay so.
    """

    def stop(number: int, _frame: Any) -> None:
        for each in signals:
            signal.signal(each, signal.SIG_IGN)
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        sys.exit(128 + number)

    with _handled(signals, by=stop):
        yield


@contextmanager
def undisturbed() -> Iterator[None]:
    """Let no Ctrl-C and nothing else that ends a program be heard meanwhile."""
    with _handled((signal.SIGINT, signal.SIGTERM, signal.SIGHUP), by=signal.SIG_IGN):
        yield


@contextmanager
def held_back() -> Iterator[None]:
    """Hear Ctrl-C, and whatever else ends a program, only at the end: for what must not be left in the midst."""
    heard: list[int] = []
    try:
        with _handled((signal.SIGINT, signal.SIGTERM, signal.SIGHUP), by=lambda number, _frame: heard.append(number)):
            yield
    finally:
        if heard:
            signal.raise_signal(heard[0])


def die_with(parent: int) -> None:
    """Let the kernel end this process when the one that started it ends, even by SIGKILL, where it can (Linux).

    Args:
        parent: the process that started this one.
    """
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(DIE_WITH_PARENT, signal.SIGKILL)
        if os.getppid() != parent:  # it had ended before
            os.kill(os.getpid(), signal.SIGKILL)


@contextmanager
def _handled(signals: Iterable[signal.Signals], *, by: Handler) -> Iterator[None]:
    """Let one handler hear signals meanwhile, except those that are ignored; only the main thread may decide."""
    if current_thread() is not main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in signals}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, by)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
