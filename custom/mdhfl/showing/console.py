"""Tables and bars in the terminal, by rich: on this console no text is markup, and none holds a control sequence."""

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from mdhfl.showing.terminal import open_stream
from mdhfl.showing.texts import readable


def open_console(*, error: bool = False, narrowest: int = 0) -> "InertConsole":
    """Return the console.

    Args:
        error: standard error instead of standard output.
        narrowest: characters a line at least where there is no terminal to fit, as in a log file.
    """
    open_stream(error=error)
    console = InertConsole(stderr=error, markup=False, emoji=False, highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, narrowest)
    return console


class InertConsole(Console):
    """A console that shows every text as it is; only rich's own control sequences (for bars) reach the terminal."""

    def render_str(self, text: str, **how: Any) -> Text:
        """Lay out a string, escapes written out."""
        return super().render_str(readable(text), **how)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Turn what is to be shown into segments, with escapes written out and without links."""
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
            else:
                yield Segment(readable(segment.text), segment.style and segment.style.update_link(None))
