"""A site that only trains installs no extra; who asks for a part that needs one is told which one, at once."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from fakes.simulated import new_run

import mdhfl.extras
from mdhfl.commands import cli
from mdhfl.extras import EXTRAS, MissingExtra, require
from mdhfl.runs.inprocess import run_in_process
from mdhfl.store.sealed import exists

ROOT = Path(__file__).resolve().parents[1]
tomllib = pytest.importorskip("tomllib")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EVERYTHING = ("server", "report", "swarm", "bundle", "dicom", "excel", "dp")  # that requirements.txt lists
# What only extras bring, as modules; MONAI would import it, too.
HIDDEN = (
    "matplotlib",
    "scipy",
    "skimage",
    "tensorboard",
    "tenseal",
    "pandas",
    "ignite",
    "fire",
    "sklearn",
    "pydicom",
    "openpyxl",
)
WITHOUT = f"""
import sys
sys.modules |= dict.fromkeys({HIDDEN})  # Python finds no module where None stands
import runpy
sys.argv = ["mdhfl", *sys.argv[1:]]
runpy.run_module("mdhfl.commands.cli", run_name="__main__")
"""


def without_extras(*arguments: object) -> "subprocess.CompletedProcess[str]":
    """Run a command where no extra can be imported."""
    command = [sys.executable, "-c", WITHOUT, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, "COLUMNS": "200"}, check=False)


def test_requirements_list_what_the_package_and_its_extras_install() -> None:
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    extras = PROJECT["optional-dependencies"]
    asked = {line for line in lines if not line.startswith("#")}
    assert asked == {*PROJECT["dependencies"], *(p for e in EVERYTHING for p in extras[e])}
    names = {line.partition(">")[0] for line in asked}
    assert names >= {"monai", "torch", "torchvision", "nvflare", "nibabel", "pillow", "scikit-image", "pyyaml"}


def test_every_extra_that_the_code_names_can_be_installed() -> None:
    assert set(EXTRAS) <= set(PROJECT["optional-dependencies"])
    (everything,) = PROJECT["optional-dependencies"]["all"]
    assert set(EXTRAS) <= set(everything.removeprefix("mdhfl[").removesuffix("]").split(","))


@pytest.mark.parametrize("extra", EXTRAS)
def test_a_missing_extra_is_said_by_name(extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    require(extra, what="this test")
    monkeypatch.setattr(mdhfl.extras, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=rf"^this test needs {EXTRAS[extra][0]}.*pip install 'mdhfl\[{extra}\]'"):
        require(extra, what="this test")


@pytest.mark.slow
def test_a_site_trains_checks_and_exports_without_extras(tmp_path: Path, federation: Path) -> None:
    run = ["run", "mdhfl_plus", "--federation", federation, "--engine", "inprocess", "--rounds", 1]
    done = without_extras(*run, "--set", "views=1", "--set", "warm_up_epochs=1", "--out", tmp_path / "a")
    assert done.returncode == 0, done.stderr
    assert without_extras("check", federation).returncode == 0
    done = without_extras("export-bundle", tmp_path / "a", "--site", "site-1", "--out", tmp_path / "bundle")
    assert done.returncode == 0, done.stderr


@pytest.fixture
def no_extras(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mdhfl.extras, "find_spec", lambda name: None)


@pytest.mark.usefixtures("no_extras")
@pytest.mark.parametrize(
    ("arguments", "extra"),
    [
        (["run", "mdhfl", "--federation", "FED", "--out", "OUT"], "server"),
        (["run", "swarm_fhe", "--federation", "FED", "--engine", "inprocess", "--out", "OUT"], "swarm"),
        (["report", "OUT"], "report"),
        (["compare", str(ROOT / "experiments" / "drawn_cells.yaml"), "--out", "OUT"], "report"),
    ],
)
def test_a_command_that_needs_an_extra_stops_in_one_line_before_it_writes(
    arguments: list[str],
    extra: str,
    tmp_path: Path,
    three_sites: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    places = {"FED": str(three_sites), "OUT": str(tmp_path / "out")}
    monkeypatch.setattr(sys, "argv", ["mdhfl", *(places.get(word, word) for word in arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"pip install 'mdhfl[{extra}]'" in line
    assert not (tmp_path / "out").exists()


def test_a_site_without_tenseal_refuses_encrypted_merging_by_name(
    tmp_path: Path, three_sites: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = new_run(tmp_path / "run", three_sites, recipe="swarm_fhe", rounds=1)
    monkeypatch.setattr(mdhfl.extras, "find_spec", lambda name: None)
    with pytest.raises(RuntimeError, match=r"its IT installs mdhfl\[swarm\] there \(extra_missing; "):
        run_in_process(tmp_path / "run", experiment=experiment)
    log = (tmp_path / "run" / "sites" / "site-1" / "site.log").read_text()
    assert "'site-1': SwarmFhe needs tenseal, not installed here" in log
    assert not exists(tmp_path / "run" / "sites" / "site-1" / experiment.id / "state.pt")
