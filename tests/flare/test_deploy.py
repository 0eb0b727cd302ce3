"""docs/deploy, command by command: a consortium of two sites with certificates of its own, over TLS, on this machine.

Every role works in a folder of its own, and gets from the others what the pages say, nothing else. Berlin has a copy of
the public set; Paris accepts the server's offer, and fetches it when the job begins.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from mdhfl.flare.poc import own_port
from mdhfl.flare.processes import processes_of, sweep
from mdhfl.reports.write import write_report

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]  # a slow machine is waited for
ROOT = Path(__file__).resolve().parents[2]
PAGES = ROOT / "docs" / "deploy"
SERVER = "fl.example.org"  # in the pages; here it is this machine
SITES = ("berlin", "paris")
WITH_A_COPY = 3  # the blocks of site.md from here on are for a site that has one


class Role:
    """Somebody who follows a page, with a folder and a home of their own."""

    def __init__(self, folder: Path, page: str, *, port: int, site: str = "berlin") -> None:
        self.folder = folder
        folder.mkdir()
        self.blocks = [self._here(block, port=port, site=site) for block in blocks_of(PAGES / f"{page}.md")]

    def do(self, number: int) -> str:
        """Type the commands of a page's block."""
        environment = {
            **os.environ,
            "HOME": str(self.folder),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "OMP_NUM_THREADS": "1",
        }
        done = subprocess.run(
            ["bash", "-e", "-c", self.blocks[number]], cwd=self.folder, env=environment, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=600,
        )  # fmt: skip
        assert done.returncode == 0, f"{self.blocks[number]}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def _here(self, block: str, *, port: int, site: str) -> str:
        """What differs between the page and this machine: names, the port, another seed."""
        block = block.replace(SERVER, "localhost").replace("--port 8002", f"--port {port}")
        if site != "berlin":
            block = block.replace("berlin", site).replace("--public prepared", "--seed 7 --public prepared")
        # What a script starts goes on after it, with its own output.
        return re.sub(r"(?m)^(kits/\S+/startup/start\.sh)$", r"\1 > start.log 2>&1", block)


def blocks_of(page: Path) -> list[str]:
    """The commands of a page: its fenced blocks without a language."""
    fences = re.findall(r"(?ms)^```(\w*)\n(.*?)^```", page.read_text(encoding="utf-8"))
    return [block for language, block in fences if not language]


@pytest.fixture
def port() -> Iterator[int]:
    with own_port() as found:
        yield found


def test_the_pages_lead_to_results(tmp_path: Path, port: int) -> None:
    coordinator = Role(tmp_path / "coordinator", "coordinator", port=port)
    server = Role(tmp_path / "server", "server", port=port)
    sites = {site: Role(tmp_path / site, "site", port=port, site=site) for site in SITES}
    researcher = Role(tmp_path / "researcher", "researcher", port=port)
    try:
        coordinator.do(0)
        coordinator.do(1)
        kits = coordinator.folder / "consortium" / "kits" / "mdhfl" / "prod_00"
        for role, kit in ((server, "localhost"), (researcher, "lead@mdhfl.example"), *((sites[s], s) for s in SITES)):
            shutil.copytree(kits / kit, role.folder / "kits" / kit)
        berlin, paris = (sites[site] for site in SITES)
        for role in (server, berlin):
            shutil.copytree(coordinator.folder / "base" / "public", role.folder / "public")
        shutil.copy(coordinator.folder / "offer.json", paris.folder)
        berlin.do(WITH_A_COPY)
        paris.do(0)
        for site, role in sites.items():
            shutil.copy(role.folder / f"{site}.json", coordinator.folder)
        assert "all is well" in coordinator.do(2)
        (researcher.folder / "fed").mkdir()
        shutil.copy(coordinator.folder / "fed" / "federation.json", researcher.folder / "fed")
        offered = server.do(0)
        assert "all is well" in berlin.do(WITH_A_COPY + 1)
        shown = paris.do(1)
        assert "licence: " in shown
        (accept,) = re.findall(r"not accepted; to accept it: (mdhfl accept-public .*)", shown)
        assert accept.split()[-1] in offered  # the digest that the server's operator sees
        paris.blocks.append(accept)
        paris.do(-1)
        assert not list((paris.folder / "state").rglob("*.png"))
        assert "all is well" in paris.do(2)
        researcher.do(0)
        fetched = {path.read_bytes() for path in (paris.folder / "state" / "_public").rglob("*.png")}
        assert fetched == {path.read_bytes() for path in (server.folder / "public").rglob("*.png")}
        assert len(fetched) == 64
        assert not (berlin.folder / "state" / "_public").exists()
        left = (paris.folder / "state" / "trial" / "left.jsonl").read_text(encoding="utf-8")
        assert left.count('"action":"public set"') == 2  # the offer, and one piece
        results = server.folder / "kits" / "localhost" / "experiments" / "trial"
        page = write_report([results], out=tmp_path / "report").read_text(encoding="utf-8")
        assert all(site in page for site in SITES)
        assert (server.folder / "kits" / "localhost" / "store").is_dir()
        for site, role in sites.items():
            assert (role.folder / "state" / "trial" / "last.pt").is_file(), site
            (role.folder / "kits" / site / "shutdown.fl").touch()
        (server.folder / "kits" / "localhost" / "shutdown.fl").touch()
    finally:
        for kit in (server.folder / "kits" / "localhost", *(role.folder / "kits" / s for s, role in sites.items())):
            if kit.is_dir():
                sweep(kit)
                assert not processes_of(kit)


@pytest.mark.parametrize("service", ["site", "site-gpu", "server"])
def test_every_path_that_a_kit_names_is_the_same_in_its_container(service: str, tmp_path: Path) -> None:
    """Paths in a kit are absolute, and a container writes nowhere but where something is mounted."""
    mounted = {
        name: f"/srv/mdhfl/{name.lower()}" for name in ("MDHFL_KIT", "MDHFL_DATA", "MDHFL_STATE", "MDHFL_PUBLIC")
    }
    text = (ROOT / "deploy" / "compose.yaml").read_text(encoding="utf-8")
    filled = re.sub(r"\$\{(\w+)(:[?-][^}]*)?\}", lambda found: mounted.get(found[1], "8002"), text)
    found = yaml.safe_load(filled)["services"][service]
    assert found["read_only"] is True
    assert found["working_dir"] == mounted["MDHFL_KIT"]
    volumes = [volume.split(":") for volume in found["volumes"]]
    assert all(outside == inside for outside, inside, *_ in volumes)
    writable = {inside for _, inside, *how in volumes if how != ["ro"]}
    assert writable == {mounted["MDHFL_KIT"]} | (set() if service == "server" else {mounted["MDHFL_STATE"]})
    reserved = found.get("deploy", {}).get("resources", {}).get("reservations", {}).get("devices", [])
    assert [device["capabilities"] for device in reserved] == ([["gpu"]] if service == "site-gpu" else [])


def test_the_image_runs_what_a_kit_has() -> None:
    """Dockerfile and compose file, as far as this machine can tell: no builder of images is here."""
    dockerfile = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
    assert 'ENTRYPOINT ["bash", "startup/sub_start.sh", "--once"]' in dockerfile
    assert "USER mdhfl" in dockerfile
    template = Path(__import__("nvflare").__file__).parent / "lighter" / "templates" / "master_template.yml"
    assert "--once)" in template.read_text(encoding="utf-8")  # FLARE's script knows it
