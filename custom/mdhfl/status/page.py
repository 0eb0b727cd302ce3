"""The status of experiments as a page: HTML without scripts of its own text, styles and a script beside it."""

import time
from collections.abc import Sequence
from pathlib import Path

from mdhfl.showing.pages import page_environment
from mdhfl.status.quantities import ago, in_score
from mdhfl.status.record import Status

TEMPLATES = Path(__file__).parent / "templates"


def render(found: Sequence[Status], *, place: str) -> str:
    """Return the page; every text in it is escaped.

    Args:
        found: of a place, the newest first; may be empty.
        place: a name for it.
    """
    page: str = (
        page_environment(TEMPLATES, filters={"score": in_score, "ago": ago})
        .get_template("status.html.j2")
        .render(found=found, newest=found[0] if found else None, place=place, now=time.strftime("%Y-%m-%d %H:%M:%S %Z"))
    )
    return page
