"""The report in a real browser: tables and figures have a size, the console is silent, nothing is fetched.

A driver page (in tests only) opens the report in a frame, measures it and leaves what it found in its own document,
which the browser prints (`--dump-dom`). The browser's log tells console messages, its net log every request.
"""

import html
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes.browser import requested, run_browser
from fakes.run_folders import write_federation, write_run
from PIL import Image

from mdhfl.reports.write import write_report

pytestmark = pytest.mark.slow

DRIVER = """<!DOCTYPE html><meta charset="utf-8"><body><pre id="found"></pre><script>
const frame = document.createElement("iframe");
frame.style = "width:{width}px; height:900px";
frame.onload = (event) => {{
  const page = event.target.contentDocument, window_ = event.target.contentWindow;
  const size = (element) => {{
    const box = element.getBoundingClientRect();
    return {{width: box.width, height: box.height, right: box.right, text: element.textContent.length}};
  }};
  const found = {{
    images: [...page.images].map((i) => ({{...size(i), natural: i.naturalWidth, complete: i.complete, alt: i.alt}})),
    tables: [...page.querySelectorAll("table")].filter((t) => !t.closest("details:not([open])")).map(size),
    headings: [...page.querySelectorAll("h2")].map((h) => ({{...size(h), title: h.textContent}})),
    fetched: window_.performance.getEntriesByType("resource").map((e) => e.name).filter((n) => !n.startsWith("data:")),
    overflow: page.documentElement.scrollWidth - page.documentElement.clientWidth,
    dangling: [...page.querySelectorAll("a")].filter((a) => !page.querySelector(a.getAttribute("href"))).length,
  }};
  document.getElementById("found").textContent = JSON.stringify(found);
}};
frame.src = "{source}";
document.body.append(frame);
</script>"""


@dataclass(frozen=True, kw_only=True)
class Visit:
    """What a browser made of a page."""

    found: dict[str, Any]
    console: list[str]
    requests: list[str]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    lacking = {"site-2": ["monocyte"]}
    federation = write_federation(folder / "fed", lacking=lacking)
    cells = np.random.default_rng(0).integers(0, 255, (160, 320, 3), dtype=np.uint8)
    (federation / "overview").mkdir()
    Image.fromarray(cells).save(federation / "overview" / "site-1.png")
    refused = {(2, "site-3"): "no answer before the round's deadline"}
    runs = [
        write_run(folder / "a", federation=federation, rounds=4, refused=refused, lacking=lacking),
        write_run(folder / "b", federation=federation, rounds=4, method="local", lacking=lacking),
    ]
    return write_report(runs, out=folder / "out")


def visit(browser: str, page: Path, *, folder: Path, width: int = 1200) -> Visit:
    driver = folder / "driver.html"
    driver.write_text(DRIVER.format(source=page.as_uri(), width=width), encoding="utf-8")
    net_log = folder / "net.json"
    done = run_browser(
        browser,
        driver.as_uri(),
        "--allow-file-access-from-files",
        "--virtual-time-budget=20000",
        f"--log-net-log={net_log}",
        "--dump-dom",
        profile=folder / "profile",
    )
    match = re.search(r'<pre id="found">(.+?)</pre>', done.stdout, flags=re.DOTALL)
    assert match, f"the driver found nothing: {done.stdout[:500]} {done.stderr[-2000:]}"
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return Visit(
        found=json.loads(html.unescape(match.group(1))), console=console, requests=requested(net_log.read_text())
    )


def test_tables_and_figures_are_there(browser: str, page: Path, tmp_path: Path) -> None:
    seen = visit(browser, page, folder=tmp_path)
    figures = json.loads((page.parent / "report.json").read_text())["figures"]
    images, tables = seen.found["images"], seen.found["tables"]
    assert len(images) == len(figures) >= 25
    for image in images:
        assert image["complete"], image
        assert image["natural"] > 100, image
        assert min(image["width"], image["height"]) > 50, image
        assert image["alt"], image
    assert len(tables) >= 8
    assert all(min(table["width"], table["height"]) > 50 and table["text"] > 40 for table in tables)
    titles = [heading["title"] for heading in seen.found["headings"]]
    for title in ("Results", "Against local-only training", "Does alignment align?", "Confusion and recall", "Words"):
        assert title in titles
    assert seen.found["dangling"] == 0


def test_console_is_silent_and_nothing_is_fetched(browser: str, page: Path, tmp_path: Path) -> None:
    seen = visit(browser, page, folder=tmp_path)
    assert seen.console == []
    assert seen.found["fetched"] == []
    assert seen.requests == []


def test_the_page_fits_a_phone(browser: str, page: Path, tmp_path: Path) -> None:
    seen = visit(browser, page, folder=tmp_path, width=360)
    assert seen.found["overflow"] <= 0


def test_a_bad_page_would_be_noticed(browser: str, tmp_path: Path) -> None:
    bad = tmp_path / "bad.html"
    bad.write_text(
        '<html><body style="width:3000px"><img alt="" src="http://127.0.0.1:9/x.png"><a href="#no">x</a>'
        "<script>undefined_function()</script></body></html>"
    )
    seen = visit(browser, bad, folder=tmp_path)
    assert any("undefined_function" in line for line in seen.console)
    assert seen.found["images"][0]["natural"] == 0
    assert seen.found["overflow"] > 0
    assert seen.found["dangling"] == 1
    assert seen.requests == ["http://127.0.0.1:9/x.png"]
    assert seen.found["fetched"] == ["http://127.0.0.1:9/x.png"]


@pytest.mark.parametrize("dark", [False, True])
def test_screenshot_is_not_blank(browser: str, page: Path, tmp_path: Path, dark: bool) -> None:
    target = tmp_path / "screen.png"
    scheme = ["--blink-settings=preferredColorScheme=0"] if dark else []
    run_browser(
        browser,
        page.as_uri(),
        "--window-size=1200,3000",
        f"--screenshot={target}",
        *scheme,
        profile=tmp_path / "profile",
    )
    with Image.open(target) as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    background = np.bincount(pixels.mean(axis=2).astype(int).ravel(), minlength=256).argmax()
    assert (background < 60) == dark
    for part in np.array_split(pixels, 3):  # something is drawn from top to bottom
        assert (np.abs(part - background).max(axis=2) > 60).mean() > 0.01
    spread = pixels.max(axis=2) - pixels.min(axis=2)
    assert (spread > 80).mean() > 0.005  # and it has colours
