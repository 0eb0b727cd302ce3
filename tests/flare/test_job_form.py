"""What is started at a site and at the server: our jobs as they are exported, and nothing else that looks like one."""

import copy
import json
import pkgutil
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from nvflare.apis.fl_constant import FLContextKey
from nvflare.apis.fl_context import FLContext
from nvflare.apis.fl_exception import UnsafeComponentError
from nvflare.app_common.widgets.component_path_authorizer import ComponentPathAuthorizer

import mdhfl.flare
from mdhfl.commands.recipe import experiment_on
from mdhfl.flare import launchers
from mdhfl.flare.job import export_job
from mdhfl.flare.job_form import LARGEST_FILE, SERVER_CONFIG, SITE_CONFIG
from mdhfl.flare.launchers import ServerLauncher, SiteLauncher
from mdhfl.flare.policy import SERVER_CLASSES, SITE_CLASSES
from mdhfl.jobs import RECIPES

LAUNCHERS = {SITE_CONFIG: SiteLauncher, SERVER_CONFIG: ServerLauncher}
OTHER_SITE_CONFIGS = {
    "another component": lambda c: c["components"].append({"id": "a", "path": "mdhfl.flare.simulator.kill_simulator"}),
    "a second executor": lambda c: c["executors"].append(c["executors"][0]),
    "another executor": lambda c: c["executors"][0]["executor"].update(path="mdhfl.learning.bundle.load_bundle"),
    "an executor with arguments": lambda c: c["executors"][0]["executor"].update(args={"site_config": "mine.json"}),
    "a class in an argument": lambda c: filter_of(c)["args"].update(x={"path": "subprocess.Popen", "args": {}}),
    "a variable": lambda c: filter_of(c)["args"].update(x="{$HOME}"),
    "a secret": lambda c: filter_of(c)["args"].update(x="${secret}"),
    "no filter": lambda c: c.update(task_result_filters=[]),
    "another filter": lambda c: filter_of(c).update(path="nvflare.app_common.filters.exclude_vars.ExcludeVars"),
    "a filter of what comes": lambda c: c["task_data_filters"].append(c["task_result_filters"][0]),
    "another task": lambda c: c["executors"][0]["tasks"].append("submit_model"),
    "another section": lambda c: c.update(handlers=[{"path": "os.system"}]),
    "another format": lambda c: c.update(format_version=1),
}
TRACKING = {
    "id": "mlflow",
    "path": "nvflare.app_opt.tracking.mlflow.mlflow_receiver.MLflowReceiver",
    "args": {"tracking_uri": "http://example.org"},
}
OTHER_SERVER_CONFIGS = {
    "results elsewhere": lambda c: controller_of(c)["args"].update(results="/etc"),
    "a second workflow": lambda c: c["workflows"].append(c["workflows"][0]),
    "another workflow": lambda c: controller_of(c).update(path="nvflare.app_common.workflows.fedavg.FedAvg"),
    "a class among the values": lambda c: controller_of(c)["args"]["experiment"].update(seed={"path": "os.getpid"}),
    "a variable": lambda c: controller_of(c)["args"]["experiment"]["classes"].append("{$AWS_SECRET_ACCESS_KEY}"),
    "a variable in a parameter": lambda c: controller_of(c)["args"]["experiment"]["parameters"].update(x="{ROOT}"),
    "a place": lambda c: controller_of(c)["args"]["experiment"].update(id="../../etc"),
    "another receiver": lambda c: c["components"][0].update(path="nvflare.app_common.widgets.metric_relay.MetricRelay"),
    "scores to an address": lambda c: c["components"].append(TRACKING),
    "scores to an address instead": lambda c: c.update(components=[TRACKING]),
    "an address among the values": lambda c: controller_of(c)["args"].update(tracking={"to": "mlflow"}),
    "a folder of the receiver": lambda c: c["components"][0]["args"].update(tb_folder="/etc"),
    "rounds without an end": lambda c: controller_of(c)["args"].update(round_timeout=0.5),
    "rounds that end before they begin": lambda c: controller_of(c)["args"].update(round_timeout=-1),
    "endless rounds": lambda c: controller_of(c)["args"].update(round_timeout=float("inf")),
    "a filter": lambda c: c["task_data_filters"].append({"tasks": ["*"], "filters": []}),
    "another server": lambda c: c["server"].update(model_log_dir="/etc"),
}
FILES = {
    "code": "custom/evil.py",
    "a bundle": "config/evil/configs/train.yaml",
    "an include": "config/config_fed_client.conf",
    "another format": "config/config_fed_client.yml",
    "logging": "config/log_config.json",
    "a second one deeper": "config/config/config_fed_client.json",
}


def filter_of(config: dict) -> dict[str, Any]:
    return config["task_result_filters"][0]["filters"][0]  # type: ignore[no-any-return]


def controller_of(config: dict) -> dict[str, Any]:
    return config["workflows"][0]  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, federation: Path) -> Path:
    """The app folder of a job, as FLARE unpacks it."""
    experiment = experiment_on(RECIPES["mdhfl"], federation=federation, identity="trial", seed=0, rounds=1, pairs=())
    return export_job(experiment, name="mdhfl", out=tmp_path_factory.mktemp("jobs")) / "app"


@pytest.fixture
def app(exported: Path, tmp_path: Path) -> Path:
    for name in (SITE_CONFIG, SERVER_CONFIG):
        (tmp_path / "app" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "app" / name).write_bytes((exported / name).read_bytes())
    return tmp_path / "app"


@pytest.fixture
def launch(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path, str], bool]:
    """Give a function that asks FLARE's launcher of one side to start an app, and says whether it did."""
    started: list[int] = []
    monkeypatch.setattr(launchers, "WatchedProcess", lambda start, restarts: started.append(restarts))

    def launch(app: Path, config: str) -> bool:
        started.clear()
        context = FLContext()
        workspace = SimpleNamespace(get_app_dir=lambda job: str(app))
        context.set_prop(FLContextKey.WORKSPACE_OBJECT, workspace, private=True)
        LAUNCHERS[config]().launch_job({"job_id": "1"}, context)
        return len(started) == 1

    return launch


@pytest.mark.parametrize("recipe", sorted(name for name, one in RECIPES.items() if one.method.is_federated))
def test_our_jobs_are_started(recipe: str, federation: Path, tmp_path: Path, launch: Callable) -> None:
    experiment = experiment_on(RECIPES[recipe], federation=federation, identity="a", seed=0, rounds=1, pairs=())
    app = export_job(experiment, name="job", out=tmp_path) / "app"
    for name in (".__nvfl_sig.json", "config/.__nvfl_sig.json", ".__nvfl_submitter.crt"):
        (app / name).write_text("{}")
    assert launch(app, SITE_CONFIG)
    assert launch(app, SERVER_CONFIG)


@pytest.mark.parametrize(
    ("config", "change"),
    [
        *(pytest.param(SITE_CONFIG, change, id=name) for name, change in OTHER_SITE_CONFIGS.items()),
        *(pytest.param(SERVER_CONFIG, change, id=name) for name, change in OTHER_SERVER_CONFIGS.items()),
    ],
)
def test_a_configuration_of_another_form_is_not_started(
    config: str, change: Callable[[dict], object], app: Path, launch: Callable
) -> None:
    before = json.loads((app / config).read_text())
    changed = copy.deepcopy(before)
    change(changed)
    assert changed != before
    (app / config).write_text(json.dumps(changed))
    with pytest.raises(ValueError, match=r"^job: config/config_fed_(client|server)\.json: "):
        launch(app, config)


@pytest.mark.parametrize("name", [pytest.param(name, id=what) for what, name in FILES.items()])
@pytest.mark.parametrize("config", [SITE_CONFIG, SERVER_CONFIG])
def test_a_job_with_another_file_is_not_started(name: str, config: str, app: Path, launch: Callable) -> None:
    assert launch(app, config)
    (app / name).parent.mkdir(parents=True, exist_ok=True)
    (app / name).write_text("")
    with pytest.raises(ValueError, match="a job brings no other file and no code"):
        launch(app, config)


def test_links_large_files_and_missing_ones_are_refused(app: Path, tmp_path: Path, launch: Callable) -> None:
    config = app / SITE_CONFIG
    text = config.read_text()
    config.write_text(text + " " * LARGEST_FILE)
    with pytest.raises(ValueError, match=f"more than {LARGEST_FILE}"):
        launch(app, SITE_CONFIG)
    config.unlink()
    with pytest.raises(ValueError, match="no config/config_fed_client"):
        launch(app, SITE_CONFIG)
    (tmp_path / "elsewhere.json").write_text(text)
    config.symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(ValueError, match="alone, got 'config/config_fed_client"):
        launch(app, SITE_CONFIG)


def allowed(path: str, classes: tuple[str, ...], folder: Path) -> bool:
    """Ask FLARE whether a kit with this list builds a component."""
    (folder / "resources.json").write_text(
        json.dumps({"class_allow_list": list(classes), "class_list_enforcement_mode": "enforce"})
    )
    kit = SimpleNamespace(get_resources_file_path=lambda: str(folder / "resources.json"))
    try:
        ComponentPathAuthorizer().authorize_component_config({"path": path}, workspace=kit)
    except UnsafeComponentError:
        return False
    return True


@pytest.mark.slow
@pytest.mark.parametrize("classes", [SITE_CLASSES, SERVER_CLASSES], ids=["site", "server"])
def test_flare_builds_what_is_listed_and_nothing_else_of_mdhfl(classes: tuple[str, ...], tmp_path: Path) -> None:
    assert all(allowed(path, classes, tmp_path) for path in classes)
    ours = [
        f"{module}.{name}"
        for module in (one.name for one in pkgutil.walk_packages(mdhfl.__path__, "mdhfl."))
        if not module.endswith("__main__")
        for name, value in vars(import_module(module)).items()
        if callable(value)
    ]
    assert len(ours) > 500
    others = ["subprocess.run", "os.system", "monai.bundle.ConfigWorkflow", "torch.load", "builtins.eval"]
    assert {path for path in [*ours, *others] if allowed(path, classes, tmp_path)} <= set(classes)
