"""The status of experiments as a page: HTML without scripts of its own text, styles and a script beside it."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from mdhfl.showing.texts import readable
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
        _environment()
        .get_template("status.html.j2")
        .render(found=found, newest=found[0] if found else None, place=place, now=time.strftime("%Y-%m-%d %H:%M:%S %Z"))
    )
    return page


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        finalize=_visible,
    )
    environment.filters.update({"score": in_score, "ago": ago})
    return environment


def _visible(value: Any) -> Any:
    """Return what the template is about to insert: a text whose characters can all be seen, or markup of its own."""
    return value if isinstance(value, Markup | jinja2.Undefined) else readable(str(value))
