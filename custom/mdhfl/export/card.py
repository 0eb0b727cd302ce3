"""The texts of an exported bundle: what the model is, how good it is, what it must not be used for."""

from mdhfl.export.facts import Facts

TEMPLATES = "templates"


def model_card(facts: Facts, *, name: str) -> str:
    """Return the model card as Markdown."""
    return _render("model_card.md.j2", facts, name=name)


def licence_note(facts: Facts) -> str:
    """Return the bundle's LICENSE: of its configurations, and what applies to its weights."""
    return _render("model_licence.txt.j2", facts)


def _render(template: str, facts: Facts, **values: str) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("mdhfl.export", TEMPLATES),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # Markdown and plain text
    )
    environment.filters["score"] = lambda value: "not known" if value is None else f"{value:.3f}"
    environment.filters["cell"] = lambda text: str(text).replace("|", "\\|").replace("\n", " ")
    return environment.get_template(template).render(facts=facts, **values)
