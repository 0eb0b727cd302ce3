"""`mdhfl poc` with FLARE's own server and sites: one command, the results of a run in one process, nothing left."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import yaml
from fakes.simulated import heed_ctrl_c, new_run, numbers_of, tiny_bundle

from mdhfl.commands.check import problems_of
from mdhfl.flare.processes import processes_of
from mdhfl.reports.site_run import read_site_run
from mdhfl.runs.inprocess import run_in_process
from mdhfl.server.journal import read_rows
from mdhfl.site.history import HISTORY

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]  # a slow machine is waited for
SITES = ("site-1", "site-2")


class Rehearsal:
    """`mdhfl poc` as its user calls it, with a home of his own."""

    def __init__(self, folder: Path, federation: Path, *, name: str = "run") -> None:
        self.out, self.home, self.said = folder / name, folder / "home", folder / f"{name}.txt"
        self.config = self.home / ".nvflare" / "config.conf"
        self.config.parent.mkdir(parents=True, exist_ok=True)
        self.config.write_text("version = 2 # mine\n")
        self.command = [
            sys.executable, "-m", "mdhfl.commands.cli", "poc", "mdhfl", "--federation", str(federation),
            "--sites", "2", "--rounds", "1", "--set", "warm_up_epochs=1", "--threads", "1",
            "--bundles", str(tiny_bundle(folder / "tiny")), "--out", str(self.out),
        ]  # fmt: skip
        self.environment = {**os.environ, "HOME": str(self.home), "PYTHONUNBUFFERED": "1"}
        self.environment.pop("NVFLARE_POC_WORKSPACE", None)

    def start(self) -> subprocess.Popen:
        with self.said.open("w") as said:
            return subprocess.Popen(
                self.command, env=self.environment, stdout=said, stderr=subprocess.STDOUT, preexec_fn=heed_ctrl_c
            )

    @property
    def kits(self) -> Path:
        return self.out / "poc" / "workspace" / "poc" / "prod_00"

    @property
    def port(self) -> int:
        project = yaml.safe_load((self.out / "poc" / "project.yml").read_text())
        return next(int(one["fed_learn_port"]) for one in project["participants"] if one["type"] == "server")

    def left(self) -> list[psutil.Process]:
        return [one for kit in self.kits.glob("*") for one in processes_of(kit)]


def test_one_command_gives_the_results_of_a_run_and_leaves_nothing(tmp_path: Path, three_sites: Path) -> None:
    """Two of the federation's three sites."""
    rehearsal = Rehearsal(tmp_path, three_sites)
    process = rehearsal.start()
    hosts = set()
    while process.poll() is None:
        hosts |= {
            address.laddr.ip
            for one in rehearsal.left()
            for address in one.net_connections()
            if address.status == psutil.CONN_LISTEN
        }
        time.sleep(2)
    said = rehearsal.said.read_text()
    assert process.returncode == 0, said
    assert hosts == {"127.0.0.1"}
    assert not rehearsal.left()
    assert rehearsal.config.read_text() == "version = 2 # mine\n"
    assert [path.name for path in rehearsal.config.parent.iterdir()] == ["config.conf"]
    assert "Connecting" not in said
    assert "server and sites are ended" in said
    assert (rehearsal.out / "report" / "report.html").is_file()
    expected = new_run(
        tmp_path / "one",
        three_sites,
        rounds=1,
        sites=2,
        changes={"warm_up_epochs": 1},
        bundles=[str(tmp_path / "tiny")],
    )
    run_in_process(tmp_path / "one", experiment=expected)
    rows = read_rows(rehearsal.out / "results.jsonl")
    assert numbers_of(rows) == numbers_of(read_rows(tmp_path / "one" / "results.jsonl"))
    assert problems_of(rehearsal.out, classes=2, image_size=32) == ("run", [])
    (download,) = (rehearsal.out / "poc" / "downloads").iterdir()
    identity = json.loads((rehearsal.out / "experiment.json").read_text())["id"]
    assert json.loads((download / "meta.json").read_text())["name"] == f"mdhfl {identity}"
    assert problems_of(download, classes=2, image_size=32) == ("results of 2 sites, flare", [])
    for site in SITES:
        (history,) = (rehearsal.out / "sites" / site).glob(f"*/{HISTORY}")
        own = read_site_run(history.parent)
        assert [row["test"] for row in own.rows] == [row["test"] for row in rows if row["site"] == site]
        assert own.left


def test_ctrl_c_ends_two_that_run_at_once(tmp_path: Path, federation: Path) -> None:
    rehearsals = [Rehearsal(tmp_path, federation, name=name) for name in ("a", "b")]
    processes = [rehearsal.start() for rehearsal in rehearsals]
    try:
        deadline = time.monotonic() + 400
        while not all(len(rehearsal.left()) >= 3 for rehearsal in rehearsals):
            assert all(process.poll() is None for process in processes), [each.said.read_text() for each in rehearsals]
            assert time.monotonic() < deadline
            time.sleep(0.5)
        assert rehearsals[0].port != rehearsals[1].port
        start = time.monotonic()
        for process in processes:
            process.send_signal(signal.SIGINT)
        assert [process.wait(timeout=120) for process in processes] == [1, 1]
        took = time.monotonic() - start
        for rehearsal in rehearsals:
            assert not rehearsal.left()
            assert re.search("interrupted; server and sites are ended", rehearsal.said.read_text())
        assert took < 60
    finally:
        for process in processes:
            process.kill()
            process.wait()
        for one in (one for rehearsal in rehearsals for one in rehearsal.left()):
            one.kill()
