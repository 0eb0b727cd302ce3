"""How every HTML page is made: all that a template inserts is escaped and has no invisible characters."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from mdhfl.showing.texts import readable


def page_environment(templates: Path, *, filters: Mapping[str, Callable[..., str]]) -> jinja2.Environment:
    """Return the environment that renders a folder's templates; a name that a template lacks is an error.

    Args:
        templates: the folder.
        filters: name in templates -> function that writes a value.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        finalize=_visible,
    )
    environment.filters.update(filters)
    return environment


def _visible(value: Any) -> Any:
    """Return what the template is about to insert: a text whose characters can all be seen, or markup of its own."""
    return value if isinstance(value, Markup | jinja2.Undefined) else readable(str(value))
