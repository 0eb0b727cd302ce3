"""An exported bundle shows what others chose, evaluates none of it, and names no place of this machine."""

import json
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml
from export.test_export import finished_run, metadata
from fakes.damage import edit_json, edit_sealed
from fakes.hostile import FRAGMENTS, WORST, files_naming, hidden_in
from fakes.small_federation import write_federation
from markdown_it import MarkdownIt

from mdhfl.export.bundle import export_bundle
from mdhfl.files import shipped_folder

CLASSES = [f"a|b {WORST}", "=1\x1b[2J", "<b>green\udcff"]
ALLOWED = {"h1", "h2", "p", "code", "pre", "strong", "ul", "li", "table", "thead", "tbody", "tr", "th", "td"}


class Tags(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append(tag)


def hostile_run(folder: Path, *, bundle: str = "resnet10") -> Path:
    federation = write_federation(folder / "fed")
    run = finished_run(folder / "run", federation, bundle=bundle)
    counts = {part: {name: 4 for name in CLASSES} for part in ("training", "validation", "test")}
    source = {
        "name": "drawn",
        **dict.fromkeys(("title", "licence", "citation"), f"$x {WORST}"),
        "url": f"http://a {WORST}",
    }
    edit_json(federation / "federation.json", name=WORST, classes=CLASSES, sources=[source])
    edit_json(federation / "sites" / "site-1" / "card.json", classes=CLASSES, counts=counts)
    edit_sealed(run / "experiment.json", classes=CLASSES, versions={WORST: WORST})
    summary = json.loads((run / "summary.json").read_text())
    summary["sites"]["site-1"]["architecture"] = f"$__import__('os').getcwd() {WORST} {folder}/x"
    edit_sealed(run / "summary.json", **summary)
    return run


def texts_of(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for pair in value.items() for each in pair for text in texts_of(each)]
    if isinstance(value, list):
        return [text for each in value for text in texts_of(each)]
    return [value] if isinstance(value, str) else []


def test_a_bundle_shows_and_evaluates_nothing(tmp_path: Path) -> None:
    out = export_bundle(hostile_run(tmp_path), site="site-1", out=tmp_path / "shared")
    card = (out / "docs" / "README.md").read_text(encoding="utf-8")
    licence = (out / "LICENSE").read_text(encoding="utf-8")
    assert not hidden_in(card + licence)
    tags = Tags(MarkdownIt("commonmark").enable("table").render(card)).found
    assert set(tags) <= ALLOWED
    assert tags.count("tr") == 2 + 1 + len(CLASSES)
    for text in texts_of(metadata(out)):
        assert not hidden_in(text)
        assert text[:1] not in "$@%" or not text
    assert files_naming(out, tmp_path, Path.home() / "x", Path("/tmp")) == []


@pytest.mark.parametrize(
    "url", ["https://doi.org/10.1/x", "javascript:alert(1)", "http://a b", "[a](http://evil.example)"]
)
def test_an_address_stays_one_and_nothing_else_becomes_one(tmp_path: Path, url: str) -> None:
    federation = write_federation(tmp_path / "fed")
    run = finished_run(tmp_path / "run", federation)
    source = {"name": "drawn", "title": "t", "licence": "l", "citation": "c", "url": url}
    edit_json(federation / "federation.json", sources=[source])
    out = export_bundle(run, site="site-1", out=tmp_path / "shared")
    card = (out / "docs" / "README.md").read_text(encoding="utf-8")
    assert ("http://" in card or "https://doi" in card) == url.startswith("https://doi")
    assert "a" not in Tags(MarkdownIt("commonmark").render(card)).found


def test_places_in_a_site_s_own_configurations_do_not_leave(tmp_path: Path) -> None:
    own = tmp_path / "own"
    shutil.copytree(shipped_folder("bundles") / "resnet10", own)
    train = own / "configs" / "train.yaml"
    more = f"dataset_dir: {tmp_path}/private/data  # copied from {tmp_path}/old\nfolders: [/srv/a/b, 'c']\n"
    train.write_text(train.read_text().replace("dataset_dir:", "was:", 1) + more)
    edit_json(
        own / "configs" / "metadata.json",
        authors=f"{tmp_path}/me",
        references=[f"{tmp_path}/r", "https://a.example/b/c"],
    )
    before = (own / "configs" / "evaluate.yaml").read_text()
    out = export_bundle(hostile_run(tmp_path, bundle=str(own)), site="site-1", out=tmp_path / "shared")
    assert files_naming(out, tmp_path, Path.home() / "x", Path("/srv")) == []
    written = yaml.safe_load((out / "configs" / "train.yaml").read_text(encoding="utf-8"))
    assert (written["dataset_dir"], written["folders"]) == ("data", ["b", "c"])
    assert metadata(out)["references"] == ["r", "https://a.example/b/c"]
    assert (out / "configs" / "evaluate.yaml").read_text() == before


def test_the_worst_text_is_as_bad_as_all() -> None:
    assert all(fragment in WORST for fragment in FRAGMENTS)
