"""A run's folder: what was asked, the simulated sites' settings, and (from `server/results.py`) what came out."""

import platform
import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from mdhfl.files import read_checked, read_json, write_json
from mdhfl.learning.bundle import built_in_bundles, find_bundle
from mdhfl.methods import Method, name_of
from mdhfl.rounds.experiment import Experiment
from mdhfl.runs.recipe import Recipe
from mdhfl.server.settings import ServerSettings
from mdhfl.site.settings import SiteSettings

BUILT_IN_BUNDLES = ("shufflenet_v2", "resnet10", "mobilenet_v2", "resnet12")
RECORDED_VERSIONS = ("mdhfl", "torch", "torchvision", "monai", "nvflare", "numpy")


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """What the caller of a run chooses beside the recipe.

    Attributes:
        federation: the federation folder.
        engine: "flare" or "inprocess".
        bundles: assigned to the sites in order, repeating.
        seed: random seed.
        rounds: instead of the recipe's.
        changes: hyper-parameters instead of the recipe's.
        min_sites: valid replies that a round needs; None for the recipe's rule.
        device: of every simulated site.
        threads: CPU threads of each simulated site.
        command: as typed, for the record.
    """

    federation: Path
    engine: str = "inprocess"
    bundles: Sequence[str] = BUILT_IN_BUNDLES
    seed: int = 0
    rounds: int | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)
    min_sites: int | None = None
    device: str = "cpu"
    threads: int = 1
    command: str = ""


def read_federation(folder: Path) -> dict[str, Any]:
    """Read and check federation.json.

    Raises:
        FileNotFoundError: the folder is not a federation.
        ValueError: federation.json is damaged.
    """
    missing = f"{folder}: no federation.json; write a federation with `mdhfl prepare`"
    return read_checked(folder / "federation.json", schema="federation", missing=missing)


def create_run(folder: Path, *, recipe: Recipe, options: RunOptions) -> Experiment:
    """Write `experiment.json` and the settings of the sites and the server.

    Raises:
        ValueError: the folder already contains a run; the federation or an option is wrong.
    """
    if (folder / "experiment.json").exists():
        raise ValueError(f"{folder}: already contains a run; continue it with --resume, or give another --out")
    federation = read_federation(options.federation)
    experiment = recipe.experiment(
        federation,
        identity=f"{_plain(recipe.name)}-{options.seed}-{secrets.token_hex(4)}",
        seed=options.seed,
        rounds=options.rounds,
        changes=options.changes,
        min_sites=options.min_sites,
    )
    bundles = _bundles(experiment.sites, options)
    validation = federation.get("server", {}).get("validation", 0)
    _check_method(experiment.method, options, bundles=bundles, validation=validation)
    for site, bundle in bundles.items():
        settings = _site_settings(folder, site, bundle, options, method=experiment.method)
        write_json(site_settings_path(folder, site), settings.to_json())
    write_json(server_settings_path(folder), _server_settings(options, method=experiment.method).to_json())
    record = {
        "version": 1,
        **experiment.to_json(),
        "recipe": recipe.name,
        "engine": options.engine,
        "federation": str(options.federation.resolve()),
        "sites": {site: {"bundle": bundle} for site, bundle in bundles.items()},
        "public": dict(federation["public"]),
        "command": options.command,
        "versions": {"python": platform.python_version(), **_versions()},
        "threads": options.threads,
        "device": options.device,
        "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    write_json(folder / "experiment.json", record)
    return experiment


def read_run(folder: Path, *, trusted: Collection[str] = ()) -> tuple[Experiment, dict[str, Any]]:
    """Read a run's experiment and its whole record.

    Args:
        folder: as `create_run` wrote it.
        trusted: modules of methods from elsewhere that may be imported: a run's folder may come from anybody.

    Raises:
        ValueError: the folder holds no run.
    """
    path = folder / "experiment.json"
    if not path.is_file():
        raise ValueError(f"{folder}: no experiment.json; is this the folder given to `mdhfl run --out`?")
    record = read_json(path)
    try:
        return Experiment.from_json(record, trusted=trusted), record
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path}: expected an experiment's record, got {type(error).__name__}: {error}") from error


def resume_run(folder: Path, *, rounds: int | None, trusted: Collection[str] = ()) -> Experiment:
    """Return the experiment of an interrupted run; it may be given more rounds, nothing else may change.

    Raises:
        ValueError: the folder holds no run, or fewer rounds are asked for than are recorded.
    """
    experiment, record = read_run(folder, trusted=trusted)
    if rounds is None or rounds == experiment.rounds:
        return experiment
    if experiment.last_round != experiment.rounds:
        raise ValueError(
            f"--rounds: {name_of(experiment.method)} ends by adopting the last merged model, so a run cannot be given "
            "more rounds; start a new run"
        )
    if rounds < experiment.rounds:
        raise ValueError(f"--rounds: expected at least the run's {experiment.rounds} on --resume, got {rounds}")
    write_json(folder / "experiment.json", {**record, "rounds": rounds})
    return Experiment.from_json({**record, "rounds": rounds}, trusted=trusted)


def site_settings_path(folder: Path, site: str) -> Path:
    """Return where a simulated site's settings lie in a run's folder."""
    return folder / "sites" / site / "site.json"


def server_settings_path(folder: Path) -> Path:
    """Return where the settings of a run's server lie."""
    return folder / "server.json"


def checkpoint_path(folder: Path, *, experiment: Experiment, site: str, which: str) -> Path:
    """Return where a run's site keeps its "best" or "last" model."""
    return folder / "sites" / site / experiment.id / f"{which}.pt"


def _bundles(sites: Sequence[str], options: RunOptions) -> dict[str, str]:
    if not options.bundles:
        raise ValueError("--bundles: expected at least one")
    for bundle in options.bundles:
        find_bundle(bundle)
    return {site: options.bundles[i % len(options.bundles)] for i, site in enumerate(sites)}


def _check_method(method: Method, options: RunOptions, *, bundles: Mapping[str, str], validation: int) -> None:
    """Find what cannot work before anything is written."""
    method.check_federation(bundles=bundles, validation=validation)
    method.check_engine(options.engine)
    if options.engine == "flare" and "__main__" in modules_of(method):
        raise ValueError(
            f"method {type(method).__name__}: FLARE's processes cannot see what a script or notebook defines; put the "
            'class into a module of its own, or use engine "inprocess"'
        )


def modules_of(method: Method) -> tuple[str, ...]:
    """Return the module that must be trusted for a method from elsewhere, none for ours."""
    module, colon, _ = name_of(method).partition(":")
    return (module,) if colon else ()


def _plain(name: str) -> str:
    """Return a recipe's name as part of an experiment's id: "module:Class" becomes "Class"."""
    return name.rpartition(":")[2]


def _server_settings(options: RunOptions, *, method: Method) -> ServerSettings:
    federation = options.federation.resolve()
    return ServerSettings(
        public=federation / "public",
        validation=federation / "server",
        bundles=tuple(dict.fromkeys(_bundle_setting(bundle) for bundle in options.bundles)),
        device=options.device,
        threads=options.threads,
        methods=modules_of(method),
    )


def _bundle_setting(bundle: str) -> str:
    return bundle if bundle in built_in_bundles() else str(Path(bundle).resolve())


def _site_settings(folder: Path, site: str, bundle: str, options: RunOptions, *, method: Method) -> SiteSettings:
    federation = options.federation.resolve()
    return SiteSettings(
        site=site,
        bundle=_bundle_setting(bundle),
        data=federation / "sites" / site,
        public=federation / "public",
        state=(folder / "sites" / site).resolve(),
        device=options.device,
        threads=options.threads,
        may_share=() if method.permission is None else (method.permission,),
        methods=modules_of(method),
        # Nothing leaves the machine: the sites are the user's own, and the reports shall be complete.
        scores="full",
        minimum_images=2,
        minimum_classes=1,
        smallest_count=1,
    )


def _versions() -> dict[str, str]:
    found = {}
    for package in RECORDED_VERSIONS:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found
