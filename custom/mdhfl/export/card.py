"""The texts of an exported bundle: what the model is, how good it is, what it must not be used for."""

import re
from collections.abc import Callable

from mdhfl.export.facts import Facts
from mdhfl.showing.texts import markdown, one_line

TEMPLATES = "templates"


class Address(str):
    """A text that may become a link."""


def model_card(facts: Facts, *, name: str) -> str:
    """Return the model card as Markdown that shows every text of others as it is."""
    return _render("model_card.md.j2", facts, how=_as_markdown, name=name)


def licence_note(facts: Facts) -> str:
    """Return the bundle's LICENSE: of its configurations, and what applies to its weights."""
    return _render("model_licence.txt.j2", facts, how=one_line)


def _as_markdown(value: object) -> str:
    return value if isinstance(value, Address) else markdown(value)


def _address(text: str) -> str:
    """Return an address of the web as it is, so that it stays one; anything else is text."""
    return (
        Address(text) if re.fullmatch(r"https?://[\w.-]+(/[\w./%=&+,-]*)?(\?[\w./%=&+,-]*)?", text, re.ASCII) else text
    )


def _render(template: str, facts: Facts, *, how: Callable[[object], str], **values: str) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("mdhfl.export", TEMPLATES),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=how,
        autoescape=False,  # Markdown and plain text
    )
    environment.filters["score"] = lambda value: "not known" if value is None else f"{value:.3f}"
    environment.filters["address"] = _address
    return environment.get_template(template).render(facts=facts, **values)
