"""What cannot be seen is written out, what lies elsewhere is named only, and Markdown shows what was written."""

from html.parser import HTMLParser
from pathlib import Path

import pytest
from fakes.hostile import FRAGMENTS, WORST, hidden_in, texts
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from mdhfl.showing.texts import markdown, one_line, readable, shown, without_places


@given(texts())
@settings(deadline=None)
@example(WORST)
def test_every_character_can_be_seen_and_encoded(text: str) -> None:
    for made in (readable(text), one_line(text)):
        assert not hidden_in(made)
        made.encode("utf-8")
    assert "\n" not in one_line(text)
    assert one_line(one_line(text)) == one_line(text)


@given(st.text(st.characters(codec="latin-1", categories=("L", "N", "P", "S"))))
def test_ordinary_texts_stay_as_they_are(text: str) -> None:
    assert readable(text) == text


def test_escapes_say_what_was_there() -> None:
    assert one_line("\x1b[2J\u202e\udcff\u200b\n") == "\\x1b[2J\\u202e\\udcff\\u200b\\n"
    assert one_line("naïve 細胞 ½ 🩸") == "naïve 細胞 ½ 🩸"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/srv/data/a.png: cannot be decoded", "a.png: cannot be decoded"),
        ("a.png: [Errno 2] No such file: '/srv/my data/a b.png'", "a.png: [Errno 2] No such file: 'a b.png'"),
        ("mdhfl run --federation /srv/fed --out=/srv/runs/a", "mdhfl run --federation fed --out=a"),
        ("matek19=/srv/AML.zip", "matek19=AML.zip"),
        ("failed:/srv/fed/x", "failed:x"),
        ("/run/sites/site-1/site.json is gone", "sites/site-1/site.json is gone"),
        (r"C:\Users\me\a.png, \\server\share\b.png", "a.png, b.png"),
        ("~/fed/a.png and file:///home/me/b.png and //home/me/c.png", "a.png and b.png and c.png"),
        ("\x1b/home/me/a.png", "\\x1ba.png"),
        ("https://creativecommons.org/licenses/by/4.0", "https://creativecommons.org/licenses/by/4.0"),
        ("training / validation, 1/2/3, N/A, ../../up, a/b/c, [/x], </b>", None),
    ],
)
def test_a_file_is_named_and_not_its_place(text: str, expected: str | None) -> None:
    assert shown(text, roots=[Path("/run")]) == (text if expected is None else expected)


@given(
    st.lists(st.text("abcé_-1", min_size=1), min_size=2, max_size=4),
    texts(),
    st.sampled_from([" ", "=", "(", "'", ": "]),
)
def test_no_place_survives_wherever_it_stands(parts: list[str], text: str, before: str) -> None:
    place = "/" + "/".join(parts)
    assert place not in without_places(f"{text}{before}{place}")


def test_plain_values_are_shown_at_every_depth() -> None:
    values = {"a\x1b": [1, 0.5, None, True, {"b": ["\udcff", "/srv/x/y"]}], "n": float("inf")}
    assert shown(values) == {"a\\x1b": [1, 0.5, None, True, {"b": ["\\udcff", "y"]}], "n": float("inf")}


class Page(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


@given(texts())
@settings(deadline=None)
@example(WORST)
@example("".join(FRAGMENTS[-20:]))
def test_markdown_shows_the_text_and_nothing_else(text: str) -> None:
    reader = MarkdownIt("commonmark").enable("table")
    page = Page(reader.render(f"so: {markdown(text)}"))
    assert set(page.tags) == {"p"}
    assert page.text.strip().split() == f"so: {one_line(text)}".split()
    table = Page(reader.render(f"| a | b |\n|---|---|\n| {markdown(text)} | c |"))
    assert table.tags == ["table", "thead", "tr", "th", "th", "tbody", "tr", "td", "td"]
