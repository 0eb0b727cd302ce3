"""A site's policy on the command line: for the sites of a run, in what left, and in a check of site.json."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from fakes.simulated import tiny_bundle

from mdhfl.commands.check import check_command
from mdhfl.commands.leaves import leaves_command
from mdhfl.commands.run import run_command
from mdhfl.commands.status import status_command
from mdhfl.site.settings import read_site_settings


@pytest.mark.slow
def test_a_run_says_what_it_spends_and_what_left_says_the_policy(tmp_path: Path, federation: Path) -> None:
    tiny = tiny_bundle(tmp_path / "tiny")
    arguments = [
        "mdhfl", "--federation", str(federation), "--engine", "inprocess", "--rounds", "1", "--bundles", str(tiny),
        "--defence", "precision=8", "--privacy", "epsilon=6", "--privacy", "delta=1e-3", "--out", str(tmp_path / "run"),
    ]  # fmt: skip
    done = CliRunner().invoke(run_command, arguments)
    assert done.exit_code == 0, done.output
    for site in ("site-1", "site-2"):
        assert f"{site}: 8 bits a number; epsilon 6 at delta 0.001 for each training image" in done.output
        settings = read_site_settings(tmp_path / "run" / "sites" / site / "site.json")
        assert settings.privacy is not None
        assert settings.privacy.rounds == 1  # the run's own
    left = CliRunner().invoke(leaves_command, [str(tmp_path / "run")])
    assert "defences as it left: 8 bits a number; epsilon 6 at delta 0.001" in " ".join(left.output.split())
    (own,) = (tmp_path / "run" / "sites" / "site-1").glob("mdhfl-*")
    shown = " ".join(CliRunner().invoke(status_command, [str(own)]).output.split())
    assert "8 bits a number; epsilon 6 at delta 0.001 for each training image" in shown
    assert "spent so far 0.00, after this experiment's planned rounds" in shown
    again = CliRunner().invoke(run_command, [*arguments, "--resume", "--privacy", "epsilon=7"])
    assert "was asked for something else" in str(again.exception)


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ({"defences": {"confidence": 0.3}}, "defences: confidence: expected above 0.333, one of 3 classes, got 0.3"),
        ({"privacy": {"epsilon": 1e-4, "delta": 1e-3}}, "epsilon 0.0001 at delta 0.001 cannot be met"),
        ({"privacy": {"epsilon": 8, "delta": 0.1}}, "delta: expected below 0.0417"),
    ],
)
def test_a_check_finds_what_cannot_be_met(
    tmp_path: Path, federation: Path, policy: dict, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    site = {
        "version": 1, "site": "site-1", "bundle": str(tiny_bundle(tmp_path / "tiny")), "device": "cpu", "threads": 1,
        "data": str(federation / "sites" / "site-1"), "public": str(federation / "public"), "state": "state", **policy,
    }  # fmt: skip
    (tmp_path / "site.json").write_text(json.dumps(site))
    with pytest.raises(ValueError, match="1 problem"):
        check_command.main([str(tmp_path / "site.json")], standalone_mode=False)
    assert said in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "state").exists()
