"""The exported job holds every argument, the compiled app is the recipe's, and exports are equal to the byte."""

import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from mdhfl.commands.recipe import _command, experiment_on
from mdhfl.flare.controller import LONGEST_ROUND, SHORTEST_ROUND, FederationController
from mdhfl.flare.executor import SiteExecutor
from mdhfl.flare.job import export_job
from mdhfl.flare.job_form import SERVER_CONFIG, check_job
from mdhfl.jobs import RECIPES
from mdhfl.methods import name_of
from mdhfl.rounds.experiment import Experiment
from tools.compile_app import COMPILED, compile_app

ROOT = Path(__file__).resolve().parents[2]


def export(recipe: str, federation: Path, out: Path) -> Path:
    experiment = experiment_on(
        RECIPES[recipe],
        federation=federation,
        identity="trial",
        seed=3,
        rounds=5,
        pairs=("local_epochs=2",),
        min_sites=1,
    )
    return export_job(experiment, name=recipe, out=out, round_timeout=60.0)


def arguments_of(component: type) -> set[str]:
    return {name for name in inspect.signature(component.__init__).parameters if name != "self"}  # type: ignore[misc]


FEDERATED = [name for name, recipe in RECIPES.items() if recipe.method.is_federated]


@pytest.mark.parametrize("recipe", FEDERATED)
def test_every_argument_is_in_the_exported_job(recipe: str, tmp_path: Path, federation: Path) -> None:
    """FLARE exports by reflection and leaves out what it cannot find or what equals a default."""
    job = export(recipe, federation, tmp_path)
    server = json.loads((job / "app" / "config" / "config_fed_server.json").read_text())
    site = json.loads((job / "app" / "config" / "config_fed_client.json").read_text())
    controller = server["workflows"][0]
    assert controller["path"] == "mdhfl.flare.controller.FederationController"
    assert set(controller["args"]) == arguments_of(FederationController)
    again = Experiment.from_json(controller["args"]["experiment"])
    assert (again.id, again.seed, again.rounds, again.sites) == ("trial", 3, 5, ("site-1", "site-2"))
    assert again.min_sites == 1
    assert again.method.local_epochs == 2
    executor = site["executors"][0]["executor"]
    assert set(executor["args"]) == arguments_of(SiteExecutor)
    chains = site["task_result_filters"]  # FLARE compares names: no "*"
    assert [name for chain in chains for name in chain["tasks"]] == site["executors"][0]["tasks"]
    for chain in chains:
        assert [only["path"] for only in chain["filters"]] == ["mdhfl.flare.filters.OnlyAnswers"]
        assert not chain["filters"][0].get("args")  # what may leave, the site's own settings say
    assert server["server"]["task_request_interval"] == 0.3
    method = name_of(RECIPES[recipe].method)
    assert json.loads((job / "meta.json").read_text())["name"] == f"{method} trial"  # as `list_jobs` shows it


@pytest.mark.parametrize("seconds", ["0", "0.5", "-1", "inf", "1e8", "nan", "soon"])
def test_a_round_timeout_that_is_none_makes_no_job(seconds: str, tmp_path: Path, federation: Path) -> None:
    out = tmp_path / "jobs"
    arguments = ["--federation", str(federation), "--export", "--export-dir", str(out), "--round-timeout", seconds]
    done = CliRunner().invoke(_command(RECIPES["mdhfl"]), arguments)
    assert "timeout" in (done.output if done.exit_code == 2 else str(done.exception))
    assert isinstance(done.exception, SystemExit if done.exit_code == 2 else ValueError)
    assert not out.exists()


@pytest.mark.parametrize("seconds", [1, 10_000_000])
def test_the_command_the_controller_and_the_launcher_take_the_same_timeouts(
    seconds: float, tmp_path: Path, federation: Path
) -> None:
    out = tmp_path / "jobs"
    arguments = ["--federation", str(federation), "--export", "--export-dir", str(out)]
    done = CliRunner().invoke(_command(RECIPES["mdhfl"]), [*arguments, "--round-timeout", str(seconds)])
    assert done.exit_code == 0, done.output
    check_job(out / "mdhfl" / "app", config=SERVER_CONFIG, schema="job_server")
    written = json.loads((out / "mdhfl" / "app" / SERVER_CONFIG).read_text())
    assert written["workflows"][0]["args"]["round_timeout"] == seconds in (SHORTEST_ROUND, LONGEST_ROUND)


def test_a_job_s_folder_is_written_again(tmp_path: Path, federation: Path) -> None:
    """FLARE takes the folder for another job's where the name in it differs from the folder's."""
    first = (export("mdhfl", federation, tmp_path) / "meta.json").read_text()
    assert json.loads(first)["name"] == "mdhfl trial"
    assert (export("mdhfl", federation, tmp_path) / "meta.json").read_text() == first


def test_pooled_training_makes_no_job(tmp_path: Path, federation: Path) -> None:
    with pytest.raises(ValueError, match="pools all sites' images; only --engine inprocess can run it"):
        export("centralised", federation, tmp_path)


def test_every_recipe_says_if_weights_leave_the_sites() -> None:
    for name, recipe in RECIPES.items():
        if "weights" in (recipe.method.shares or ""):
            assert "weights" in recipe.summary, f"{name} does not say that weights leave the sites"


def test_the_job_holds_configuration_only_and_names_no_architecture(tmp_path: Path, federation: Path) -> None:
    job = export("mdhfl", federation, tmp_path)
    files = sorted(str(p.relative_to(job)) for p in job.rglob("*") if p.is_file())
    assert files == ["app/config/config_fed_client.json", "app/config/config_fed_server.json", "meta.json"]
    text = "".join((job / name).read_text() for name in files)
    assert not any(name in text for name in ("shufflenet", "resnet", "mobilenet", str(ROOT), "images/"))


def test_the_compiled_app_is_what_the_recipe_gives(tmp_path: Path) -> None:
    compile_app(tmp_path)
    for target in COMPILED.values():
        assert (tmp_path / target).read_text() == (ROOT / target).read_text(), f"{target} is stale: run `make app`"


@pytest.mark.slow
def test_a_recipe_exports_the_same_bytes_whatever_the_hash_seed(tmp_path: Path, federation: Path) -> None:
    written = []
    for seed in ("1", "2"):
        out = tmp_path / seed
        subprocess.run(
            [
                sys.executable, str(ROOT / "jobs" / "mdh_fl.py"), "--federation", str(federation),
                "--export", "--export-dir", str(out),
            ],
            check=True, env={"PYTHONHASHSEED": seed, "PATH": "/usr/bin:/bin"}, capture_output=True,
        )  # fmt: skip
        written.append({str(p.relative_to(out)): p.read_bytes() for p in out.rglob("*") if p.is_file()})
    assert written[0] == written[1]
    assert "mdhfl/meta.json" in written[0]


@pytest.mark.slow
def test_a_recipe_runs_as_a_module_without_a_warning(tmp_path: Path) -> None:
    """Where the wheel is installed there is no `jobs/`; importing it before it runs would warn."""
    command = [sys.executable, "-W", "error", "-m", "mdhfl.jobs.mdhfl_plus", "--help"]
    done = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)
    assert "--round-timeout" in done.stdout
    assert not done.stderr
