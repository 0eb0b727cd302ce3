"""`mdhfl consortium init`: FLARE takes what it writes, and the kits take our policies without a hand's touch."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from mdhfl.commands.consortium import consortium_command
from mdhfl.commands.kits import server_kit_command, site_kit_command
from mdhfl.files import check_against_schema
from mdhfl.flare.policy import SERVER_CLASSES, SITE_CLASSES


def init(out: Path, *more: str) -> str:
    done = CliRunner().invoke(consortium_command, ["init", "--out", str(out), *more])
    if done.exception is not None:
        raise done.exception
    return done.output


@pytest.mark.slow
def test_flare_makes_kits_of_it_that_take_our_policies(tmp_path: Path) -> None:
    output = init(tmp_path / "c", "--sites", "berlin, paris", "--server", "fl.example.org", "--port", "9443")
    command = next(line for line in output.splitlines() if line.startswith("next: ")).removeprefix("next: ")
    environment = {
        **os.environ,
        "HOME": str(tmp_path),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    done = subprocess.run(command.split(), env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    kits = tmp_path / "c" / "kits" / "mdhfl" / "prod_00"
    names = {"fl.example.org", "berlin", "paris", "admin@mdhfl.example", "lead@mdhfl.example"}
    assert {path.name for path in kits.iterdir()} == names
    for site in ("berlin", "paris"):
        server = json.loads((kits / site / "startup" / "fed_client.json").read_text())["servers"][0]
        assert server["service"]["target"] == "fl.example.org:9443"
        arguments = ["--out", kits / site, "--site", site, "--bundle", "resnet10", "--data", "d", "--public", "p"]
        kit = CliRunner().invoke(site_kit_command, [*map(str, arguments), "--state", "s"])
        assert kit.exit_code == 0, kit.output
        assert json.loads((kits / site / "local" / "resources.json").read_text())["class_allow_list"] == [*SITE_CLASSES]
    kit = CliRunner().invoke(server_kit_command, ["--out", str(kits / "fl.example.org")])
    assert kit.exit_code == 0, kit.output
    written = json.loads((kits / "fl.example.org" / "local" / "resources.json").read_text())
    assert written["class_allow_list"] == [*SERVER_CLASSES]


def test_everybody_is_named_once_with_a_role(tmp_path: Path) -> None:
    init(tmp_path, "--sites", "a,b", "--name", "blood", "--lead", "eve@example.org")
    project = yaml.safe_load((tmp_path / "project.yml").read_text())
    assert [(one["name"], one.get("role", one["type"])) for one in project["participants"]] == [
        ("localhost", "server"),
        ("a", "client"),
        ("b", "client"),
        ("admin@blood.example", "project_admin"),
        ("eve@example.org", "lead"),
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--sites", "klinik.a"], "--sites 'klinik.a': FLARE takes no such name"),
        (["--sites", "klinik a"], "--sites 'klinik a': FLARE takes no such name"),
        (["--sites", "../a"], "--sites '../a': FLARE takes no such name"),
        (["--sites", "a,A"], "different names for all, got localhost"),
        (["--sites", ","], "--sites: expected at least one"),
        (["--sites", "a", "--server", "a b"], "--server 'a b': FLARE takes no such name"),
        (["--sites", "a", "--admin", "me"], "--admin 'me': FLARE takes no such name"),
        (["--sites", "a", "--name", "x y"], "--name 'x y': FLARE takes no such name"),
    ],
)
def test_a_name_that_flare_would_refuse_is_refused_at_once(options: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        init(tmp_path, *options)
    assert not (tmp_path / "project.yml").exists()


def test_an_existing_project_is_not_overwritten(tmp_path: Path) -> None:
    init(tmp_path, "--sites", "a")
    before = (tmp_path / "project.yml").read_text()
    with pytest.raises(ValueError, match="exists already"):
        init(tmp_path, "--sites", "b")
    assert (tmp_path / "project.yml").read_text() == before


def test_a_sites_settings_take_no_name_that_flare_refuses() -> None:
    settings = {"version": 1, "site": "klinik-a", "bundle": "resnet10", "data": "d", "public": "p", "state": "s"}
    settings |= {"device": "cpu", "threads": 1}
    check_against_schema(settings, schema="site", what="site.json")
    with pytest.raises(ValueError, match=r"site\.json: site: 'klinik\.a' does not match"):
        check_against_schema({**settings, "site": "klinik.a"}, schema="site", what="site.json")
