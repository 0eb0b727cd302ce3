"""`mdhfl audit`: what it writes and prints, and what it refuses in one line."""

from pathlib import Path

import pytest
from click.testing import CliRunner
from fakes.simulated import changes_for, new_run, tiny_bundle

import mdhfl.extras
from mdhfl.commands.audit import audit_command
from mdhfl.extras import MissingExtra
from mdhfl.files import read_checked
from mdhfl.runs.inprocess import run_in_process


@pytest.mark.slow
def test_a_run_is_audited_and_the_file_is_named(tmp_path: Path, federation: Path) -> None:
    bundles = (str(tiny_bundle(tmp_path / "tiny")),)
    experiment = new_run(tmp_path / "run", federation, rounds=1, bundles=bundles, changes=changes_for("mdhfl"))
    run_in_process(tmp_path / "run", experiment=experiment)
    done = CliRunner().invoke(audit_command, [str(tmp_path / "run"), "--shadows", "0", "--site", "site-2"])
    assert done.exit_code == 0, done.output
    assert "what each site gave away" in done.output
    assert f"audit: {tmp_path / 'run' / 'audit.json'}" in done.output
    values = read_checked(tmp_path / "run" / "audit.json", schema="audit", missing="")
    assert [site["site"] for site in values["sites"]] == ["site-2"]
    assert max(len(line) for line in done.output.splitlines() if "audit.json" not in line) <= 80


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "expected RUN, a run's folder, or --before FEDERATION"),
        (["RUN", "--before", "FED"], "give one of the two"),
        (["--before", "FED"], "give a new folder for the dry run with --out"),
        (["RUN", "--shadows", "3"], "shadows: expected an even number"),
        (["RUN"], "no experiment.json"),
        (["--before", "FED", "--out", "OUT", "--method", "no_such"], "no recipe 'no_such'"),
    ],
)
def test_what_it_refuses(arguments: list[str], said: str, tmp_path: Path, federation: Path) -> None:
    places = {"RUN": str(tmp_path / "run"), "FED": str(federation), "OUT": str(tmp_path / "out")}
    (tmp_path / "run").mkdir()
    with pytest.raises(ValueError, match=said):
        audit_command.main([places.get(word, word) for word in arguments], standalone_mode=False)
    assert not (tmp_path / "out").exists()


def test_what_it_needs_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(mdhfl.extras, "find_spec", lambda name: None)
    with pytest.raises(
        MissingExtra, match=r"an audit needs scipy and skimage, not installed here: pip install 'mdhfl\[audit\]'"
    ):
        audit_command.main([str(tmp_path)], standalone_mode=False)
