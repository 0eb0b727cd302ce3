"""Lines in the terminal. Starts fast: tables and bars are in `console.py`."""

import sys
import traceback
from types import TracebackType
from typing import Any

from mdhfl.showing.texts import one_line


def say(text: object, *, error: bool = False) -> None:
    """Print one line to standard output or standard error, with what cannot be seen as escapes."""
    print(one_line(text), file=open_stream(error=error))


def say_exception(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print a traceback; a hook for `sys.excepthook`."""
    for line in "".join(traceback.format_exception(kind, error, trace)).splitlines():
        say(line, error=True)


def open_stream(*, error: bool) -> Any:
    """Return standard error or output, which from now on writes an escape for what its encoding lacks."""
    stream = sys.stderr if error else sys.stdout
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(errors="backslashreplace")
    return stream
