"""Texts of others, made harmless for whoever reads them: in a terminal, a log, a page, a Markdown file. Pure.

A name, a refusal or a licence may hold anything. It is shown, never obeyed: what a reader could not see becomes a
visible escape (an escape character is written `\\x1b`), and a place on somebody's disk the name of what lies there.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

# Unicode's "default ignorable" characters that Python calls printable: nothing is drawn for them.
INVISIBLE = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]")
_PART = r"[^\s'\"`<>|;:,()\[\]{}/]+"
PLACE = re.compile(  # an absolute path of at least two parts, of POSIX or Windows; no part of an address or fraction
    r"(?P<quote>['\"])(?:file:/*)?(?:/|~/|[A-Za-z]:[/\\]|\\\\)[^'\"\n]*[/\\][^'\"\n]*(?P=quote)"
    rf"|(?:file:/+|(?<![\w./\\:])/+|(?<=:)/(?!/)){_PART}(?:/+{_PART})+/*"
    rf"|(?<![\w./\\])~[\w.-]*/+{_PART}(?:/+{_PART})*/*"
    rf"|(?<![\w\\])(?:[A-Za-z]:[/\\]+|\\\\){_PART}(?:/+{_PART})*/*"
)
MARKDOWN = re.compile(r"[\\`*\[\]<>~&$@]|(?<![^\W_])_|_(?![^\W_])|^[#+=-]|:(?=//)|(?<=www)\.")


def readable(text: str, *, keep: str = "\n") -> str:
    """Return a text whose every character can be seen; the others are written as escapes.

    The others are control characters (C0 and C1), format characters (directions, zero widths), separators of lines,
    unusual spaces, lone surrogates, and what Unicode has not assigned.

    Args:
        text: of any origin.
        keep: characters that stay though they are not printable.
    """
    if text.isprintable() and not INVISIBLE.search(text):
        return text
    return "".join(c if c in keep or (c.isprintable() and not INVISIBLE.match(c)) else _escape(c) for c in text)


def one_line(text: object) -> str:
    """Return a text as `readable` does, in one line: nobody can forge a second one."""
    return readable(str(text), keep="")


def without_places(text: str, *, roots: Sequence[Path] = ()) -> str:
    """Return a text that names files, but does not say where they lie on somebody's disk.

    Args:
        text: of any origin.
        roots: folders whose files are named relative to them; of a file elsewhere its name alone stays.
    """
    for root in sorted({str(root) for root in roots} - {"", ".", "/"}, key=len, reverse=True):
        text = re.sub(rf"(?<![\w./-]){re.escape(root)}/+(?=[^\s/])", "", text)
    return PLACE.sub(_name_of, text)


def shown(value: Any, *, roots: Sequence[Path] = ()) -> Any:
    """Return plain values, as JSON has them, whose texts are all `readable` and `without_places`."""
    if isinstance(value, str):
        return readable(without_places(value, roots=roots))
    if isinstance(value, Mapping):
        return {shown(str(key), roots=roots): shown(each, roots=roots) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [shown(each, roots=roots) for each in value]
    return value


def markdown(text: object) -> str:
    """Return a text as Markdown that shows it in one line: no link, no HTML, no end of a table's cell."""
    plain = MARKDOWN.sub(lambda found: f"&#{ord(found[0])};", one_line(text))
    return plain.replace("|", "\\|")  # the one escape that tables know


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def _name_of(found: re.Match[str]) -> str:
    quote = found["quote"] or ""
    parts = re.split(r"[/\\]+", found[0].removeprefix(quote).removesuffix(quote).rstrip("/\\"))
    return f"{quote}{parts[-1]}{quote}"
