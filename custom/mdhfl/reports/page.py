"""The page itself: the template, its number formats and its explanations."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from mdhfl.metrics import SCORES
from mdhfl.reports.runs import number_or_none
from mdhfl.showing.pages import page_environment

TEMPLATES = Path(__file__).parent / "templates"
UNKNOWN = "\N{EN DASH}"
EXPLANATIONS = (
    *((score.title, score.meaning) for score in SCORES.values()),
    ("Recall", "Share of a class's test images that are recognised as that class."),
    (
        "Divergence",
        "Kullback-Leibler divergence in nats between what two sites' models say about the public images, averaged over "
        "these images; 0 means the same answers. MDH-FL pulls each site towards the others.",
    ),
    ("Test part", "Held-out images of the same site with clean labels; no noise is ever injected into them."),
    ("Round", "Teach, align, train, share. Round 0 is the warm-up: local training before the first alignment."),
)


def render_page(page: Mapping[str, Any]) -> str:
    """Render the page; everything that comes from files is escaped.

    Args:
        page: what `mdhfl.report` composes.

    Returns:
        HTML without scripts and without references to anything outside the page.
    """
    filters = {
        "score": score,
        "spread": spread,
        "signed": signed,
        "bytes": byte_count,
        "count": count,
        "seconds": seconds,
    }
    environment = page_environment(TEMPLATES, filters=filters)
    return environment.get_template("report.html.j2").render(page, explanations=EXPLANATIONS, unknown=UNKNOWN)


def score(value: Any, digits: int = 3) -> str:
    """Write a score with three decimals."""
    number = number_or_none(value)
    return UNKNOWN if number is None else f"{number:.{digits}f}"


def spread(value: Any) -> str:
    """Write a standard deviation, nothing where there is none."""
    number = number_or_none(value)
    return "" if number is None else f" ± {number:.3f}"


def signed(value: Any) -> str:
    """Write a difference with its sign."""
    number = number_or_none(value)
    return UNKNOWN if number is None else f"{number:+.3f}".replace("-", "\N{MINUS SIGN}")


def count(value: Any) -> str:
    """Write a whole number with thin spaces between thousands."""
    number = number_or_none(value)
    return UNKNOWN if number is None else Markup(f"{number:,.0f}".replace(",", "\u202f"))


def seconds(value: Any) -> str:
    """Write seconds with one decimal."""
    number = number_or_none(value)
    return UNKNOWN if number is None else f"{number:.1f}"


def byte_count(value: Any) -> str:
    """Write a number of bytes in the unit that suits it."""
    number = number_or_none(value)
    if number is None:
        return UNKNOWN
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000 or unit == "GB":
            break
        number /= 1000
    return f"{number:.0f} B" if unit == "B" else f"{number:.1f} {unit}"
