"""A reader of the report's page."""

from html.parser import HTMLParser
from pathlib import Path


class Reader(HTMLParser):
    """Collects what a test asks about: the rows of tables by section, pictures, tags and text."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.section, self.rows, self.pictures = "", {}, []  # type: ignore[var-annotated]
        self.tags: list[str] = []
        self.words: list[str] = []
        self.texts: dict[str, str] = {}
        self._cell: list[str] | None = None
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append(tag)
        if tag == "section":
            self.section = found.get("id") or self.section
        elif tag == "tr":
            self.rows.setdefault(self.section, []).append([])
        elif tag in ("td", "th"):
            self._cell = []
        elif tag == "img":
            self.pictures.append(found)

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th") and self._cell is not None:
            self.rows[self.section][-1].append(" ".join("".join(self._cell).split()))
            self._cell = None

    def handle_data(self, data: str) -> None:
        self.texts[self.section] = self.texts.get(self.section, "") + data
        if self._cell is not None:
            self._cell.append(data)
