"""A run's folder: what was asked, the simulated sites' settings, and (from `results.py`) what came out."""

import json
import platform
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from mdhfl.files import read_checked, write_atomically
from mdhfl.learning.bundle import built_in_bundles, find_bundle
from mdhfl.methods.method import Method
from mdhfl.rounds.experiment import Experiment
from mdhfl.runs.recipe import Plan
from mdhfl.server.settings import ServerSettings
from mdhfl.site.settings import SiteSettings

BUILT_IN_BUNDLES = ("shufflenet_v2", "resnet10", "mobilenet_v2", "resnet12")
RECORDED_VERSIONS = ("mdhfl", "torch", "torchvision", "monai", "nvflare", "numpy")


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What the caller of `mdhfl run` chooses.

    Attributes:
        federation: the federation folder.
        engine: "flare" or "inprocess".
        bundles: for the sites in turn, repeated as often as needed.
        seed: of all random numbers.
        rounds: instead of the plan's.
        changes: hyper-parameters instead of the plan's.
        min_sites: usable answers that a round needs; None for the plan's rule.
        device: of every simulated site.
        threads: CPU threads of each simulated site.
        command: as typed, for the record.
    """

    federation: Path
    engine: str
    bundles: Sequence[str]
    seed: int
    rounds: int | None
    changes: Mapping[str, Any]
    min_sites: int | None
    device: str
    threads: int
    command: str


def read_federation(folder: Path) -> dict[str, Any]:
    """Read and check federation.json.

    Raises:
        FileNotFoundError: the folder is no federation.
        ValueError: federation.json is damaged.
    """
    missing = f"{folder}: no federation.json; write a federation with `mdhfl prepare`"
    return read_checked(folder / "federation.json", schema="federation", missing=missing)


def create_run(folder: Path, *, plan: Plan, choices: Choices) -> Experiment:
    """Write `experiment.json` and the sites' `site.json`.

    Raises:
        ValueError: the folder holds a run already; the federation or a choice is wrong.
    """
    if (folder / "experiment.json").exists():
        raise ValueError(f"{folder}: holds a run already; continue it with --resume, or give another --out")
    federation = read_federation(choices.federation)
    identity = f"{plan.name}-{choices.seed}-{secrets.token_hex(4)}"
    experiment = plan.experiment(
        federation,
        id_=identity,
        seed=choices.seed,
        rounds=choices.rounds,
        changes=choices.changes,
        min_sites=choices.min_sites,
    )
    if not choices.bundles:
        raise ValueError("--bundles: expected at least one")
    for bundle in choices.bundles:
        find_bundle(bundle)
    bundles = {site: choices.bundles[i % len(choices.bundles)] for i, site in enumerate(experiment.sites)}
    method = experiment.create_method()
    method.check_federation(bundles=bundles, validation=federation.get("server", {}).get("validation", 0))
    if method.pools and choices.engine != "inprocess":
        raise ValueError(f"{plan.name} sees all sites' images, which no federation may: --engine inprocess only")
    for site, bundle in bundles.items():
        settings = _site_settings(folder, site, bundle, choices, method=method)
        _write_json(site_settings_path(folder, site), settings.to_json())
    if method.needs_desk:
        _write_json(server_settings_path(folder), _server_settings(choices).to_json())
    record = {
        "version": 1,
        **experiment.to_json(),
        "plan": plan.name,
        "engine": choices.engine,
        "federation": str(choices.federation.resolve()),
        "sites": {site: {"bundle": bundle} for site, bundle in bundles.items()},
        "public": dict(federation["public"]),
        "command": choices.command,
        "versions": {"python": platform.python_version(), **_versions()},
        "threads": choices.threads,
        "device": choices.device,
        "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    _write_json(folder / "experiment.json", record)
    return experiment


def read_run(folder: Path) -> tuple[Experiment, dict[str, Any]]:
    """Read a run's experiment and its whole record.

    Raises:
        ValueError: the folder holds no run.
    """
    path = folder / "experiment.json"
    if not path.is_file():
        raise ValueError(f"{folder}: no experiment.json; is this the folder given to `mdhfl run --out`?")
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        return Experiment.from_json(record), record
    except (json.JSONDecodeError, KeyError) as error:
        raise ValueError(f"{path}: expected an experiment's record, got {type(error).__name__}: {error}") from error


def resume_run(folder: Path, *, rounds: int | None) -> Experiment:
    """Return the experiment of an interrupted run; it may be given more rounds, nothing else may change.

    Raises:
        ValueError: the folder holds no run, or fewer rounds are asked for than are recorded.
    """
    experiment, record = read_run(folder)
    if rounds is None or rounds == experiment.rounds:
        return experiment
    if experiment.create_method().merges:
        raise ValueError(
            f"--rounds: {experiment.method} ends by adopting the last merged model, so a run cannot be given more "
            "rounds; start a new one"
        )
    if rounds < experiment.rounds:
        raise ValueError(f"--rounds: expected at least the run's {experiment.rounds} on --resume, got {rounds}")
    _write_json(folder / "experiment.json", {**record, "rounds": rounds})
    return Experiment.from_json({**record, "rounds": rounds})


def site_settings_path(folder: Path, site: str) -> Path:
    """Return where a simulated site's settings lie in a run's folder."""
    return folder / "sites" / site / "site.json"


def server_settings_path(folder: Path) -> Path:
    """Return where the settings of a run's server lie, if its method's server trains."""
    return folder / "server.json"


def checkpoint_path(folder: Path, *, experiment: Experiment, site: str, which: str) -> Path:
    """Return where a run's site keeps its "best" or "last" model."""
    return folder / "sites" / site / experiment.id / f"{which}.pt"


def _server_settings(choices: Choices) -> ServerSettings:
    federation = choices.federation.resolve()
    return ServerSettings(
        public=federation / "public",
        validation=federation / "server",
        bundles=tuple(dict.fromkeys(_bundle_setting(bundle) for bundle in choices.bundles)),
        device=choices.device,
        threads=choices.threads,
    )


def _bundle_setting(bundle: str) -> str:
    return bundle if bundle in built_in_bundles() else str(Path(bundle).resolve())


def _site_settings(folder: Path, site: str, bundle: str, choices: Choices, *, method: Method) -> SiteSettings:
    federation = choices.federation.resolve()
    return SiteSettings(
        site=site,
        bundle=_bundle_setting(bundle),
        data=federation / "sites" / site,
        public=federation / "public",
        state=(folder / "sites" / site).resolve(),
        device=choices.device,
        threads=choices.threads,
        may_share=() if method.permission is None else (method.permission,),
    )


def _versions() -> dict[str, str]:
    found = {}
    for package in RECORDED_VERSIONS:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def _write_json(path: Path, values: Mapping[str, Any]) -> None:
    text = json.dumps(values, indent=2) + "\n"
    write_atomically(path, lambda file: file.write(text.encode()))
