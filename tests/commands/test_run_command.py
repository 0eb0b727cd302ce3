"""`mdhfl run`, `mdhfl check` and their user's mistakes, through the command itself."""

import json
import os
import shutil
import sys
from pathlib import Path

import pytest
from fakes.commands import mdhfl, run_arguments
from fakes.simulated import new_run, numbers_of

from mdhfl.commands import cli
from mdhfl.commands.recipe import experiment_on
from mdhfl.jobs import RECIPES
from mdhfl.learning.bundle import load_bundle
from mdhfl.reports.groups import group_runs
from mdhfl.reports.runs import read_report_run
from mdhfl.runs.folder import read_record, run_lock, site_settings_path
from mdhfl.server.journal import read_rows
from mdhfl.site.settings import read_site_settings


def test_a_run_leaves_results_and_a_summary(
    tmp_path: Path, federation: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "a"
    assert mdhfl(monkeypatch, *run_arguments(federation, out, "--rounds", 1, "--set", "ce_weight=0.5")) == 0
    summary = json.loads((out / "summary.json").read_text())
    assert (summary["method"], summary["engine"], summary["seed"], summary["rounds"]) == ("mdhfl", "inprocess", 0, 1)
    assert summary["parameters"]["ce_weight"] == 0.5
    for site in ("site-1", "site-2"):
        found = summary["sites"][site]
        assert (found["bundle"], found["architecture"]) == ("shufflenet_v2", "ShuffleNetV2 x1.0")
        assert found["parameters"] > 100_000
        for name in ("accuracy", "macro_f1", "balanced_accuracy", "bytes_up", "bytes_down", "seconds"):
            assert found[name] is not None
            assert summary["mean"][name] is not None
    assert "site-2" in capsys.readouterr().out


@pytest.mark.slow
def test_a_bundle_s_training_is_changed_for_all_sites(
    tmp_path: Path, federation: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Other numbers than without, the same after a resume, in the sites' settings, the export and the report."""
    changes = ["--set", "bundle.learning_rate=3e-4", "--set", "bundle.batch_size=8", "--set", "bundle.optimizer=SGD"]
    plain, out = tmp_path / "plain", tmp_path / "changed"
    assert mdhfl(monkeypatch, *run_arguments(federation, plain, "--rounds", 1)) == 0
    assert mdhfl(monkeypatch, *run_arguments(federation, out, "--rounds", 1, *changes)) == 0
    expected = {"learning_rate": 3e-4, "batch_size": 8, "optimizer": "SGD"}
    assert read_record(out)["bundle_changes"] == expected
    assert read_site_settings(site_settings_path(out, "site-1")).bundle_changes == expected
    losses = [[row["losses"]["train"] for row in read_rows(run / "results.jsonl")] for run in (plain, out)]
    assert all(one != other for one, other in zip(*losses, strict=True))
    assert mdhfl(monkeypatch, *run_arguments(federation, out, "--rounds", 2, "--resume", *changes)) == 0
    again = run_arguments(federation, out, "--resume", "--set", "bundle.learning_rate=0.1")
    assert mdhfl(monkeypatch, *again) == 2
    assert "parameters.bundle.learning_rate 0.0003, now 0.1" in capsys.readouterr().err
    assert mdhfl(monkeypatch, "export-bundle", out, "--site", "site-1", "--out", tmp_path / "shared") == 0
    bundle = load_bundle(tmp_path / "shared", num_classes=3, image_size=32)
    assert (type(bundle.optimizer).__name__, bundle.batch_size) == ("SGD", 8)
    assert bundle.optimizer.param_groups[0]["lr"] == 3e-4
    card = (tmp_path / "shared" / "docs" / "README.md").read_text()
    assert "The bundle's training, changed: learning_rate 0.0003, batch_size 8, optimizer SGD." in card
    labels = {group.label for group in group_runs([read_report_run(run) for run in (plain, out)])}
    assert any("bundle.learning_rate=0.0003" in label for label in labels)
    assert len(labels) == 2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("bundle.learning_rate=fast", "bundle.learning_rate: expected a number above 0, got 'fast'"),
        ("bundle.network_def=1", "bundle.network_def: no such setting of a bundle"),
        ("bundle.optimizer=Adamm", "optimizer cannot be built"),
        ("bundle.learning_rate=1e30", "bundle shufflenet_v2: "),
    ],
)
def test_a_change_that_cannot_train_is_refused_before_anything_is_written(
    change: str,
    said: str,
    tmp_path: Path,
    federation: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert mdhfl(monkeypatch, *run_arguments(federation, tmp_path / "a", "--set", change)) == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "a").exists()


def test_a_job_changes_no_site_s_bundle(federation: Path) -> None:
    with pytest.raises(ValueError, match=r"bundle\.batch_size: a job changes no site's bundle; each site does"):
        experiment_on(
            RECIPES["mdhfl"], federation=federation, identity="a", seed=0, rounds=1, pairs=("bundle.batch_size=8",)
        )


@pytest.mark.parametrize("engine", ["flare", "inprocess"])
def test_whoever_asks_for_no_threads_gets_one_a_site_with_either_engine(
    engine: str, tmp_path: Path, federation: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread count decides the last digits of the scores: it must not depend on the engine or the machine."""

    def stop(folder: Path, **_: object) -> None:
        raise ValueError("enough")

    monkeypatch.setattr("mdhfl.api.execute", stop)
    arguments = ["run", "mdhfl", "--federation", federation, "--engine", engine, "--out", tmp_path / "a"]
    assert mdhfl(monkeypatch, *arguments) == 2
    assert read_record(tmp_path / "a")["threads"] == 1
    for site in ("site-1", "site-2"):
        assert json.loads((tmp_path / "a" / "sites" / site / "site.json").read_text())["threads"] == 1


def test_control_is_for_methods_that_have_one(
    tmp_path: Path, federation: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The twin of `mdhfl_plus` by a flag; a method without one says so before anything is written."""
    assert mdhfl(monkeypatch, *run_arguments(federation, tmp_path / "a", "--control")) == 2
    assert "control" in capsys.readouterr().err
    assert not (tmp_path / "a").exists()
    arguments = run_arguments(federation, tmp_path / "b", "--rounds", 1, "--control", "--set", "views=1")
    arguments[1] = "mdhfl_plus"
    quick = ["--set", "warm_up_epochs=1", "--set", "competence_epochs=0"]
    assert mdhfl(monkeypatch, *arguments, *quick) == 0
    assert all("control" in row for row in read_rows(tmp_path / "b" / "results.jsonl"))


@pytest.mark.slow
def test_a_resumed_run_equals_an_uninterrupted_one(
    tmp_path: Path, federation: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One round, then --resume with two: the same numbers as two rounds at once."""
    assert mdhfl(monkeypatch, *run_arguments(federation, tmp_path / "a", "--rounds", 2)) == 0
    assert mdhfl(monkeypatch, *run_arguments(federation, tmp_path / "b", "--rounds", 1)) == 0
    assert mdhfl(monkeypatch, *run_arguments(federation, tmp_path / "b", "--rounds", 2, "--resume")) == 0
    one, other = (numbers_of(read_rows(tmp_path / name / "results.jsonl")) for name in "ab")
    assert one == other


@pytest.mark.parametrize(
    ("method", "more", "said"),
    [
        ("fedavg", [], "recipe mdhfl, now fedavg"),
        ("mdhfl", ["--seed", 77], "seed 0, now 77"),
        ("mdhfl", ["--set", "local_epochs=50"], "parameters.local_epochs 1, now 50"),
        ("mdhfl", ["--control"], "parameters.control none, now true"),
        (
            "mdhfl",
            ["--bundles", "resnet12"],
            'bundles ["shufflenet_v2", "shufflenet_v2"], now ["resnet12", "resnet12"]',
        ),
        ("mdhfl", ["--engine", "flare"], "engine inprocess, now flare"),
        ("mdhfl", ["--threads", 2], "threads 1, now 2"),
        ("mdhfl", ["--federation", "/nowhere"], "/nowhere"),
    ],
)
def test_a_resume_that_asks_for_something_else_is_refused_and_lists_it(
    method: str,
    more: list[object],
    said: str,
    tmp_path: Path,
    federation: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "a"
    new_run(folder, federation)
    before = (folder / "experiment.json").read_bytes()
    arguments = ["run", method, *run_arguments(federation, folder, "--resume", *more)[2:]]
    assert mdhfl(monkeypatch, *arguments) == 2
    error = capsys.readouterr().err
    assert f"{folder}: --resume continues the run as it was begun, but was asked for something else: " in error
    assert said in error
    assert len(error.splitlines()) == 1
    assert (folder / "experiment.json").read_bytes() == before


def test_a_folder_that_another_run_uses_is_refused_by_name(
    tmp_path: Path, federation: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    new_run(tmp_path / "a", federation)
    with run_lock(tmp_path / "a"):
        assert mdhfl(monkeypatch, *run_arguments(federation, tmp_path / "a", "--resume")) == 2
    assert f"{tmp_path / 'a'}: in use by another run (process {os.getpid()})" in capsys.readouterr().err


def test_one_failing_site_is_told_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from fakes.small_federation import write_federation

    folder = write_federation(tmp_path / "fed", sites=("site-1", "site-2", "site-3"))
    next((folder / "sites" / "site-2" / "images").iterdir()).unlink()
    assert mdhfl(monkeypatch, *run_arguments(folder, tmp_path / "a", "--rounds", 1)) == 0
    assert "its own images could not be read" in capsys.readouterr().err
    assert "listed in datalist.json but missing" in (tmp_path / "a" / "sites" / "site-2" / "site.log").read_text()
    summary = json.loads((tmp_path / "a" / "summary.json").read_text())
    assert summary["sites"]["site-2"]["accuracy"] is None
    assert summary["sites"]["site-3"]["accuracy"] is not None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (["--set", "speed=3"], "has no parameter speed"),
        (["--set", "ce_weight"], "expected NAME=VALUE"),
        (["--set", "temperature=0"], "temperature: expected above 0"),
        (["--min-sites", "9"], "min_sites: expected 1 to 2"),
        (["--federation", "/nowhere"], "no federation.json"),
        (["--rounds", "0"], "Invalid value for '--rounds'"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_two(
    change: list[str],
    said: str,
    tmp_path: Path,
    federation: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert mdhfl(monkeypatch, *run_arguments(federation, tmp_path / "a", *change)) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error
    assert not (tmp_path / "a" / "experiment.json").exists()


def test_an_unknown_plan_lists_the_plans(
    tmp_path: Path, federation: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert mdhfl(monkeypatch, "run", "fedmagic", "--federation", federation, "--out", tmp_path / "a") == 2
    assert f"there are: {', '.join(RECIPES)}" in capsys.readouterr().err


def test_debug_shows_the_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["mdhfl", "--debug", "check", str(tmp_path)])
    with pytest.raises(ValueError, match="expected a folder with"):
        cli.main()


def test_a_folder_with_a_run_is_not_overwritten(
    tmp_path: Path, federation: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = run_arguments(federation, tmp_path / "a", "--rounds", 1, "--set", "local_epochs=0")
    assert mdhfl(monkeypatch, *arguments) == 0
    assert mdhfl(monkeypatch, *arguments) == 2
    assert "continue it with --resume" in capsys.readouterr().err


@pytest.mark.parametrize("missing", ["no_such_bundle", "./no/such/path"])
def test_a_missing_bundle_stops_before_anything_starts(
    missing: str, tmp_path: Path, federation: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert mdhfl(monkeypatch, *run_arguments(federation, tmp_path / "a", "--bundles", missing)) == 2
    assert "no bundle" in capsys.readouterr().err
    assert not (tmp_path / "a" / "experiment.json").exists()


def test_check_finds_nothing_wrong_and_then_everything(
    tmp_path: Path, federation: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert mdhfl(monkeypatch, "check", federation) == 0
    assert "all is well" in capsys.readouterr().out
    folder = tmp_path / "fed"
    shutil.copytree(federation, folder)
    (folder / "public" / "images" / "img_00001.png").unlink()
    (folder / "sites" / "site-2" / "images" / "img_00002.png").write_bytes(b"no image")
    assert mdhfl(monkeypatch, "check", folder) == 2
    error = capsys.readouterr().err
    assert "img_00001.png" in error
    assert "img_00002.png" in error


def test_check_takes_a_site_json_and_a_bundle(
    tmp_path: Path, federation: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {
        "version": 1, "site": "site-1", "bundle": "resnet10", "data": str(federation / "sites" / "site-1"),
        "public": str(federation / "public"), "state": "state", "device": "cpu", "threads": 1,
    }  # fmt: skip
    path = tmp_path / "site.json"
    path.write_text(json.dumps(settings))
    assert mdhfl(monkeypatch, "check", path) == 0
    path.write_text(json.dumps({**settings, "bundle": "resnet99"}))
    assert mdhfl(monkeypatch, "check", path) == 2
    assert "resnet99" in capsys.readouterr().err
    bundle = Path(__file__).resolve().parents[2] / "bundles" / "mobilenet_v2"
    assert mdhfl(monkeypatch, "check", bundle, "--classes", 5, "--image-size", 48) == 0
