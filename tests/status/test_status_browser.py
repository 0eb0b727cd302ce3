"""The page of `mdhfl status --serve` in a real browser: silent, by itself, up to date, readable on a phone."""

import html
import json
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes.browser import requested, run_browser
from fakes.run_folders import write_federation, write_run
from fakes.simulated import heed_ctrl_c
from PIL import Image

from mdhfl.rounds.loop import LATE
from mdhfl.runs.progress import Step, note_step
from mdhfl.status import serving
from mdhfl.status.page import TEMPLATES, render
from mdhfl.status.places import read_all
from mdhfl.status.serving import StatusServer
from mdhfl.store.lock import FolderLock

pytestmark = pytest.mark.slow

LOCAL = ("--no-proxy-server", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1")
FULL = "site 'site-2': its disk is full; what it kept before is safe, so free space, then resume (disk_full)"
MEASURE = """<!DOCTYPE html><meta charset="utf-8"><body style="margin:0"><pre id="found"></pre><script>
const frame = document.createElement("iframe");
frame.style = "width:WIDTHpx; height:1500px; border:0";
frame.onload = (event) => {
  const page = event.target.contentDocument, look = event.target.contentWindow;
  const all = (what) => [...page.querySelectorAll(what)], box = (e) => e.getBoundingClientRect();
  document.getElementById("found").textContent = JSON.stringify({
    overflow: page.documentElement.scrollWidth - page.documentElement.clientWidth,
    cut: all("td, th, dd, dt, li, p").filter((e) => box(e).right > WIDTH).length,
    cells: all("#sites td").filter((e) => box(e).width > 20 && box(e).height > 10).length,
    labels: all("#sites td").filter((e) => look.getComputedStyle(e, "::before").content.length > 4).length,
    smallest: Math.min(...all("td, dd, li").map((e) => parseFloat(look.getComputedStyle(e).fontSize))),
  });
};
frame.src = "page.html";
document.body.append(frame);
</script>"""


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Path]:
    """A server's kit with an experiment that runs, a site that refused and one that was absent; and a finished one."""
    federation, place = write_federation(tmp_path / "fed"), tmp_path / "server" / "experiments"
    write_run(place / "older", federation=federation, method="local")
    refused = {(2, "site-3"): LATE, (4, "site-2"): FULL}
    folder = write_run(place / "newer", federation=federation, rounds=9, recorded=4, refused=refused)
    with FolderLock(folder, name="results.lock", way_out=""):
        note_step(folder, Step(action="learn", round=5, site="site-1", refusal=""))
        yield tmp_path / "server"


def visit(browser: str, address: str, *, folder: Path, seconds: int) -> tuple[str, list[str], list[str]]:
    """Return the page after some seconds of its own time, what it said, and what it asked the network for."""
    log = folder / "net.json"
    done = run_browser(
        browser, address, *LOCAL, f"--virtual-time-budget={seconds * 1000}", f"--log-net-log={log}", "--dump-dom",
        profile=folder / "profile",
    )  # fmt: skip
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return html.unescape(done.stdout), console, requested(log.read_text())


def test_the_command_s_page_shows_all_asks_nobody_else_and_says_nothing(
    browser: str, running: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "mdhfl.commands.cli", "status", str(running), "--serve", "127.0.0.1:0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=heed_ctrl_c)
    try:
        assert process.stdout is not None
        found = re.search(r"http://127\.0\.0\.1:\d+/", process.stdout.readline())
        assert found
        page, console, asked = visit(browser, found[0], folder=tmp_path, seconds=1)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 0
        assert process.stdout.read() == "ended\n"
    finally:
        process.kill()
        process.wait()
    waiting = "Round 5 of 9: 1 of 4 sites have answered; waiting for site-2, site-3, site-4."
    for expected in (waiting, "refused in round 4", FULL, LATE, "works on it", "GB free", "Experiments, the last"):
        assert expected in page, expected
    assert console == []
    assert {url.removeprefix(found[0]) for url in asked} <= {"", "status.css", "status.js"}


def served(pages: list[str]) -> StatusServer:
    """Serve one page after the other, the last one again and again; nothing more after an empty one."""

    def page() -> str:
        now = pages.pop(0) if len(pages) > 1 else pages[0]
        if not now:
            raise ConnectionError
        return now

    server = StatusServer(("127.0.0.1", 0), page=page)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


@pytest.mark.parametrize("ends", [False, True])
def test_the_page_follows_and_says_when_it_cannot(
    browser: str, running: Path, tmp_path: Path, ends: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "FRESH", 0.0)
    first = render(read_all(running), place="server")
    note_step(running / "experiments" / "newer", Step(action="learn", round=5, site="site-4", refusal=""))
    second = render(read_all(running), place="server")
    server = served([first, second, *([""] if ends else [])])
    try:
        page, console, _ = visit(browser, f"http://{server.host}/", folder=tmp_path, seconds=20)
    finally:
        server.shutdown()
        server.server_close()
    assert "Round 5 of 9: 2 of 4 sites have answered; waiting for site-2, site-3." in page
    assert ('id="lost" hidden' in page) != ends
    assert [line for line in console if "ERR_EMPTY_RESPONSE" not in line] == []


@pytest.mark.parametrize(("width", "stacked"), [(360, True), (1100, False)])
def test_the_page_fits_a_phone_and_a_desk(
    browser: str, running: Path, tmp_path: Path, width: int, stacked: bool
) -> None:
    (tmp_path / "page.html").write_text(render(read_all(running), place="server"), encoding="utf-8")
    shutil.copy(TEMPLATES / "status.css", tmp_path)
    (tmp_path / "status.js").write_text("")
    (tmp_path / "driver.html").write_text(MEASURE.replace("WIDTH", str(width)), encoding="utf-8")
    how = ("--allow-file-access-from-files", "--virtual-time-budget=5000")
    address, profile = (tmp_path / "driver.html").as_uri(), tmp_path / "profile"
    dumped = run_browser(browser, address, *how, "--dump-dom", profile=profile).stdout
    match = re.search(r'<pre id="found">(.+?)</pre>', dumped, flags=re.DOTALL)
    assert match, dumped[:500]
    found: dict[str, Any] = json.loads(html.unescape(match[1]))
    assert found["overflow"] <= 0
    assert found["cut"] == 0
    assert found["cells"] == 4 * 8
    assert (found["labels"] == 4 * 8) == stacked
    assert found["smallest"] >= 14
    target = tmp_path / "screen.png"
    run_browser(
        browser, address, *how, f"--window-size={max(width, 500)},1500", f"--screenshot={target}", profile=profile
    )
    with Image.open(target) as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)[:, :width]
    assert ((pixels.max(axis=2) - pixels.min(axis=2)) > 60).mean() > 0.001  # states have colours
    assert (pixels.mean(axis=2) < 120).mean() > 0.005  # and there is text
