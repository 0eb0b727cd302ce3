"""A run of the small federation, for tests of the engines: a folder, its experiment, its sites."""

import re
import shutil
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from mdhfl.jobs import RECIPES
from mdhfl.learning.bundle import find_bundle
from mdhfl.rounds.experiment import Experiment
from mdhfl.runs.folder import RunOptions, create_run, site_settings_path
from mdhfl.runs.inprocess import run_in_process
from mdhfl.server.results import Results
from mdhfl.sharing.messages import Answer, Request
from mdhfl.site.settings import read_site_settings
from mdhfl.site.site import Site


def new_run(
    folder: Path,
    federation: Path,
    *,
    recipe: str = "mdhfl",
    rounds: int = 2,
    changes: Mapping[str, Any] | None = None,
    bundles: Sequence[str] = ("shufflenet_v2",),
    engine: str = "inprocess",
    seed: int = 0,
    min_sites: int | None = None,
    sites: int | None = None,
    defences: Mapping[str, Any] | None = None,
    privacy: Mapping[str, Any] | None = None,
    device: str = "cpu",
) -> Experiment:
    """Create a run with one thread a site."""
    options = RunOptions(
        federation=federation,
        engine=engine,
        bundles=bundles,
        seed=seed,
        rounds=rounds,
        changes=changes or {},
        min_sites=min_sites,
        sites=sites,
        device=device,
        threads=1,
        command="a test",
        defences=defences or {},
        privacy=privacy or {},
    )
    return create_run(folder, recipe=RECIPES[recipe], options=options)


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
    set_in(folder, change)
    return folder


def set_in(bundle: Path, change: tuple[str, str]) -> None:
    """Change one thing in a bundle's train.yaml."""
    path = bundle / "configs" / "train.yaml"
    text = path.read_text(encoding="utf-8")
    assert change[0] in text
    path.write_text(text.replace(*change), encoding="utf-8")


def tiny_bundle(folder: Path) -> Path:
    """Write a bundle whose network has 147 parameters: an epoch takes no time."""
    if not folder.exists():
        shutil.copytree(find_bundle("shufflenet_v2"), folder)
        path = folder / "configs" / "train.yaml"
        before, rest = path.read_text(encoding="utf-8").split("network_def:\n", 1)
        tiny = (
            "$torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(4), torch.nn.Flatten(), torch.nn.Linear(48, @num_classes))"
        )
        path.write_text(f'{before}network_def: "{tiny}"\n{rest[rest.index("network:") :]}', encoding="utf-8")
    return folder


def changes_for(recipe: str, **changes: Any) -> dict[str, Any]:
    own = {"distil_batches": 3, "distil_patience": 3, "distil_batch_size": 8} if recipe == "feddf" else {}
    return {**own, "warm_up_epochs": 1, **changes}


def run(folder: Path, federation: Path, recipe: str, *, changes: dict[str, Any] | None = None, **options: Any) -> Any:
    """Run a recipe; return its rows without clocks, and every request with its answer."""
    experiment = new_run(folder, federation, recipe=recipe, changes=changes or changes_for(recipe), **options)
    exchanges: list[tuple[Request, Answer]] = []
    summary = run_in_process(folder, experiment=experiment, on_answer=lambda q, a: exchanges.append((q, a)))
    assert summary["status"] == "finished"
    assert not any(site["refused"] for site in summary["sites"].values())
    return numbers_of(Results(folder, experiment=experiment).rows()), exchanges


def model_of(folder: Path, site: str) -> dict[str, torch.Tensor]:
    """Return a site's last model."""
    (path,) = (folder / "sites" / site).glob("*/last.pt")
    return dict(torch.load(path, weights_only=True)["model"])


def log_of(run: Path, refusal: str, site: str = "site-1") -> str:
    """The full text that a site keeps of a refusal, found by its reference; the refusal itself names no place."""
    found = re.search(r"\((\w+); site\.log: ([0-9a-f]{8})\)$", refusal)
    assert found, refusal
    assert str(run) not in refusal
    log = (run / "sites" / site / "site.log").read_text()
    return log[log.index(found[2]) :]
