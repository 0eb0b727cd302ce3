"""What stops a program that has started others: it ends them first, and nothing disturbs it meanwhile."""

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import current_thread, main_thread
from typing import Any

Handler = Callable[[int, Any], None] | signal.Handlers


@contextmanager
def ended_by(*signals: signal.Signals) -> Iterator[None]:
    """Let signals raise SystemExit meanwhile, except those that are ignored."""
    with _handled(signals, by=lambda number, _frame: sys.exit(128 + number)):
        yield


@contextmanager
def undisturbed() -> Iterator[None]:
    """Let no Ctrl-C and nothing else that ends a program be heard meanwhile."""
    with _handled((signal.SIGINT, signal.SIGTERM, signal.SIGHUP), by=signal.SIG_IGN):
        yield


@contextmanager
def _handled(signals: tuple[signal.Signals, ...], *, by: Handler) -> Iterator[None]:
    if current_thread() is not main_thread():  # only that one may decide
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
