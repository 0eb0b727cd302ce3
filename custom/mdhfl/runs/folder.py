"""A run's folder: what was asked, the simulated sites' settings, and (from `server/results.py`) what came out."""

import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mdhfl.files import read_checked, write_json
from mdhfl.learning.bundle import built_in_bundles, find_bundle
from mdhfl.learning.bundle_changes import split_changes
from mdhfl.learning.bundle_digest import bundle_digest
from mdhfl.learning.device import check_device
from mdhfl.learning.images import digest_of_private_set
from mdhfl.methods import Method
from mdhfl.rounds.experiment import Experiment
from mdhfl.runs.checks import check_bundles, check_method, check_policy, modules_of
from mdhfl.runs.recipe import Recipe
from mdhfl.runs.versions import versions
from mdhfl.server.settings import ServerSettings
from mdhfl.server.tracking import FILE as TRACKING
from mdhfl.server.tracking import tracking_of_run
from mdhfl.sharing.watch import TELL
from mdhfl.site.defences import defences_from, privacy_from
from mdhfl.site.settings import SiteSettings
from mdhfl.store.lock import FolderLock
from mdhfl.store.sealed import clean, exists, read_sealed_json, write_sealed_json
from mdhfl.timing import now

BUILT_IN_BUNDLES = ("shufflenet_v2", "resnet10", "mobilenet_v2", "resnet12")


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """What the caller of a run chooses beside the recipe.

    Attributes:
        federation: the federation folder.
        engine: "flare" or "inprocess".
        sites: how many of the federation's sites take part, the first ones; None for all.
        bundles: assigned to the sites in order, repeating.
        seed: random seed.
        rounds: instead of the recipe's.
        changes: hyper-parameters instead of the recipe's, and, as "bundle.<name>", instead of the bundles', see
            `learning/bundle_changes.py`.
        min_sites: valid replies that a round needs; None for the recipe's rule.
        device: of every simulated site.
        threads: CPU threads of each simulated site.
        command: as typed, for the record.
        watch: what follows where a site's knowledge stands out, one of `sharing.watch.MODES`.
        defences: of every simulated site, as `site/defences.py` names them.
        privacy: its privacy budget; empty for none.
        track: "mlflow" or "wandb", which FLARE's server tells the scores; None for neither.
    """

    federation: Path
    engine: str = "inprocess"
    sites: int | None = None
    bundles: Sequence[str] = BUILT_IN_BUNDLES
    seed: int = 0
    rounds: int | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)
    min_sites: int | None = None
    device: str = "cpu"
    threads: int = 1
    command: str = ""
    watch: str = TELL
    defences: Mapping[str, Any] = field(default_factory=dict)
    privacy: Mapping[str, Any] = field(default_factory=dict)
    track: str | None = None


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
    _refuse_second(folder)
    check_device(options.device)
    tracking = tracking_of_run(options.track) if options.track else None
    federation = _with_sites(read_federation(options.federation), options.sites)
    changes, bundle_changes = split_changes(options.changes)
    name = recipe.name.rpartition(":")[2]  # of "module:Class" the class
    experiment = recipe.experiment(
        federation,
        identity=f"{name}-{options.seed}-{secrets.token_hex(4)}",
        seed=options.seed,
        rounds=options.rounds,
        changes=changes,
        min_sites=options.min_sites,
        watch=options.watch,
    )
    bundles = _bundles(experiment.sites, options)
    check_bundles(bundles, federation, bundle_changes)
    validation = federation.get("server", {}).get("validation", 0)
    check_method(experiment.method, engine=options.engine, track=options.track, bundles=bundles, validation=validation)
    settings = {
        site: _site_settings(folder, site, bundle, options, experiment=experiment, changes=bundle_changes)
        for site, bundle in bundles.items()
    }
    check_policy(settings, experiment)
    record = _record_of(experiment, recipe, options, federation=federation, bundles=bundles, settings=settings)
    with run_lock(folder):
        _refuse_second(folder)
        for site, own in settings.items():
            write_json(site_settings_path(folder, site), own.to_json())
        write_json(server_settings_path(folder), _server_settings(options, method=experiment.method).to_json())
        if tracking is not None:
            write_json(folder / TRACKING, tracking.to_json())
        write_record(folder, record)
    return experiment


def _record_of(
    experiment: Experiment,
    recipe: Recipe,
    options: RunOptions,
    *,
    federation: Mapping[str, Any],
    bundles: Mapping[str, str],
    settings: Mapping[str, SiteSettings],
) -> dict[str, Any]:
    """Return the content of `experiment.json`."""
    return {
        "version": 1,
        **experiment.to_json(),
        "recipe": recipe.name,
        "bundle_changes": split_changes(options.changes)[1],
        "engine": options.engine,
        "federation": str(options.federation.resolve()),
        "sites": {site: {"bundle": bundle, **digests_of(settings[site])} for site, bundle in bundles.items()},
        "public": dict(federation["public"]),
        "command": options.command,
        "versions": versions(),
        "threads": options.threads,
        "device": options.device,
        "track": options.track,
        "defences": dict(options.defences),
        "privacy": dict(options.privacy),
        "started": now(),
    }


def _with_sites(federation: dict[str, Any], count: int | None) -> dict[str, Any]:
    """Return a federation of the first so many of its sites."""
    sites = federation["sites"]
    if count is not None and not 1 <= count <= len(sites):
        raise ValueError(f"--sites: expected 1 to {len(sites)}, as many as the federation has, got {count}")
    return {**federation, "sites": dict(list(sites.items())[:count])}


def _refuse_second(folder: Path) -> None:
    if exists(folder / "experiment.json"):
        raise ValueError(f"{folder}: already contains a run; continue it with --resume, or give another --out")


def run_lock(folder: Path) -> FolderLock:
    """Lock a run's folder and clean it of interrupted writes. Raises InUse if another run is under way in it."""
    lock = FolderLock(folder, name="run.lock", way_out="wait until it has ended, or give another --out")
    clean(folder, *folder.glob("sites/*"))
    return lock


def write_record(folder: Path, record: Mapping[str, Any]) -> None:
    """Write `experiment.json`, and its copy. Raises StateError."""
    for _ in range(2):
        write_sealed_json(folder / "experiment.json", record)


def read_record(folder: Path) -> dict[str, Any]:
    """Read `experiment.json`.

    Raises:
        ValueError: the folder holds no run.
        Damaged: the file and its copy are damaged.
    """
    path = folder / "experiment.json"
    if not exists(path):
        raise ValueError(f"{folder}: no experiment.json; is this the folder given to `mdhfl run --out`?")
    return read_sealed_json(path)


def results_in(folder: Path) -> Path:
    """Return where a folder's results lie: in it, or, if it is the download of a FLARE job, in its workspace."""
    downloaded = folder / "workspace" / "mdhfl"
    return downloaded if exists(downloaded / "experiment.json") else folder


def digests_of(settings: SiteSettings) -> dict[str, str]:
    """Return what a simulated site must keep while its run lasts: digests of its bundle and of its data.

    Raises:
        ValueError: there is no such bundle or data.
    """
    return {
        "bundle_digest": bundle_digest(settings.bundle, changes=settings.bundle_changes)[:16],
        "data_digest": digest_of_private_set(settings.data)[:16],
    }


def read_run(folder: Path, *, trusted: Collection[str] = ()) -> tuple[Experiment, dict[str, Any]]:
    """Read a run's experiment and its whole record.

    Args:
        folder: as `create_run` wrote it.
        trusted: modules of methods from elsewhere that may be imported: a run's folder may come from anybody.

    Raises:
        ValueError: the folder holds no run.
        Damaged: its record is damaged.
    """
    record = read_record(folder)
    try:
        return Experiment.from_json(record, trusted=trusted), record
    except (KeyError, TypeError) as error:
        path = folder / "experiment.json"
        raise ValueError(f"{path}: expected an experiment's record, got {type(error).__name__}: {error}") from error


def site_settings_path(folder: Path, site: str) -> Path:
    """Return where a simulated site's settings lie in a run's folder."""
    return folder / "sites" / site / "site.json"


def server_settings_path(folder: Path) -> Path:
    """Return where the settings of a run's server lie."""
    return folder / "server.json"


def checkpoint_path(folder: Path, *, experiment: Experiment, site: str, which: str) -> Path:
    """Return where a run's site keeps its "best" or "last" model."""
    return site_folder_path(folder, experiment=experiment.id, site=site) / f"{which}.pt"


def site_folder_path(folder: Path, *, experiment: str, site: str) -> Path:
    """Return where a simulated site keeps its state of a run's experiment."""
    return folder / "sites" / site / experiment


def _bundles(sites: Sequence[str], options: RunOptions) -> dict[str, str]:
    if not options.bundles:
        raise ValueError("--bundles: expected at least one")
    for bundle in options.bundles:
        find_bundle(bundle)
    return {site: options.bundles[i % len(options.bundles)] for i, site in enumerate(sites)}


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


def _site_settings(
    folder: Path, site: str, bundle: str, options: RunOptions, *, experiment: Experiment, changes: Mapping[str, Any]
) -> SiteSettings:
    federation, method, rounds = options.federation.resolve(), experiment.method, experiment.rounds
    return SiteSettings(
        site=site,
        bundle=_bundle_setting(bundle),
        data=federation / "sites" / site,
        public=federation / "public",
        state=(folder / "sites" / site).resolve(),
        device=options.device,
        threads=options.threads,
        may_share=tuple(filter(None, [method.needs()])),
        methods=modules_of(method),
        bundle_changes=changes,
        # Nothing leaves the machine: the sites are the user's own, and the reports shall be complete.
        scores="full",
        minimum_images=2,
        minimum_classes=1,
        smallest_count=1,
        minimum_sites=2,
        defences=defences_from(options.defences),
        privacy=privacy_from(options.privacy and {"rounds": rounds, **options.privacy}),
    )
