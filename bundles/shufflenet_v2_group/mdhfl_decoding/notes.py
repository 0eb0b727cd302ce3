"""What a decoder did to a picture beyond unpacking it, for whoever wants to count it."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_heard: ContextVar[list[str] | None] = ContextVar("heard", default=None)


def note(text: str) -> None:
    """Say what was done to the picture that is being decoded; without a listener, nothing happens."""
    heard = _heard.get()
    if heard is not None:
        heard.append(text)


@contextmanager
def listening() -> Iterator[list[str]]:
    """Collect what is noted meanwhile."""
    heard: list[str] = []
    token = _heard.set(heard)
    try:
        yield heard
    finally:
        _heard.reset(token)
