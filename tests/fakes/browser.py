"""A real browser, without a window: what it prints, logs and asks for."""

import json
import subprocess
from pathlib import Path

BROWSERS = ("chromium", "google-chrome", "chromium-browser", "google-chrome-stable")
QUIET = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--hide-scrollbars",
    "--enable-logging=stderr",
    "--v=0",
    "--host-resolver-rules=MAP * ~NOTFOUND",  # whatever the browser asks on its own stays on this machine
]


def run_browser(browser: str, address: str, *arguments: str, profile: Path) -> subprocess.CompletedProcess[str]:
    command = [browser, *QUIET, f"--user-data-dir={profile}", *arguments, address]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)


def requested(net_log: str) -> list[str]:
    """Return what the page asked of the network; what the browser asks on its own has no origin and is left out."""
    events = [event.get("params", {}) for event in json.loads(net_log)["events"]]
    asked = [params for params in events if params.get("initiator", "not an origin") != "not an origin"]
    return sorted({params["url"] for params in asked if not params.get("url", "").startswith(("file:", "data:"))})
