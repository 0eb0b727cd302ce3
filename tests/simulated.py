"""A run of the small federation, for tests of the engines: a folder, its experiment, its sites."""

import shutil
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mdhfl.bundle import find_bundle
from mdhfl.experiment import Experiment
from mdhfl.jobs import PLANS
from mdhfl.run_folder import Choices, create_run, site_settings_path
from mdhfl.site import Site
from mdhfl.site_settings import read_site_settings


def new_run(
    folder: Path,
    federation: Path,
    *,
    plan: str = "mdhfl",
    rounds: int = 2,
    changes: Mapping[str, Any] | None = None,
    bundles: Sequence[str] = ("shufflenet_v2",),
    engine: str = "inprocess",
    seed: int = 0,
    min_sites: int | None = None,
) -> Experiment:
    """Create a run with one thread a site."""
    choices = Choices(
        federation=federation,
        engine=engine,
        bundles=bundles,
        seed=seed,
        rounds=rounds,
        changes=changes or {},
        min_sites=min_sites,
        device="cpu",
        threads=1,
        command="a test",
    )
    return create_run(folder, plan=PLANS[plan], choices=choices)


def site_of(folder: Path, name: str) -> Site:
    """Open one of a run's sites, as after a restart of its process."""
    return Site(read_site_settings(site_settings_path(folder, name)))


def numbers_of(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows in order, without what depends on the clock."""
    kept = [{k: v for k, v in row.items() if k not in ("seconds", "bytes")} for row in rows]
    return sorted(kept, key=lambda row: (row["round"], row["site"]))


def heed_ctrl_c() -> None:
    """Undo what a shell does to its background jobs: a child of one would ignore SIGINT."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def own_bundle(folder: Path, change: tuple[str, str]) -> Path:
    """Copy a built-in bundle and change one thing in its train.yaml."""
    shutil.copytree(find_bundle("shufflenet_v2"), folder)
    path = folder / "configs" / "train.yaml"
    text = path.read_text(encoding="utf-8")
    assert change[0] in text
    path.write_text(text.replace(*change), encoding="utf-8")
    return folder
