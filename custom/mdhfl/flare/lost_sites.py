"""Which site's process has ended although the simulated run has not: FLARE's simulator starts none again, and waits.

It happens when memory runs out, and rarely while sites start, presumably where two are given the same port.
"""

import contextlib
import time
from pathlib import Path

import psutil

from mdhfl.flare.simulator import members_of

WORKER = "nvflare.private.fed.app.simulator.simulator_worker"
PERIOD = 2.0  # seconds between two looks
GRACE = 15.0  # seconds that a run may take to end after its sites' processes have


class LostSites:
    """Watches the processes of a simulated run's sites."""

    def __init__(self, run: Path) -> None:
        self._run = run
        self._seen: set[str] = set()
        self._gone_since: dict[str, float] = {}
        self._next_look = 0.0

    def look(self) -> str:
        """Return a site whose process ended a while ago although the run has no result; empty if there is none."""
        now = time.monotonic()
        if now < self._next_look or (self._run / "summary.json").exists():
            return ""
        self._next_look = now + PERIOD
        here = _sites_here(self._run)
        self._seen |= here
        self._gone_since = {site: self._gone_since.get(site, now) for site in self._seen - here}
        return min((site for site, since in self._gone_since.items() if now - since >= GRACE), default="")


def _sites_here(run: Path) -> set[str]:
    sites = set()
    for process in members_of(run):
        with contextlib.suppress(psutil.Error, ValueError, IndexError):
            words = process.cmdline()  # of one that has died and nobody waited for: empty
            if WORKER in words:
                sites.add(words[words.index("--client") + 1])
    return sites
