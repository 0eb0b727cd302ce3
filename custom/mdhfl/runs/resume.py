"""An interrupted run goes on as it was asked for: whoever asks for something else is told what differs."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from mdhfl.learning.bundle_changes import with_prefix
from mdhfl.methods import name_of
from mdhfl.rounds.experiment import Experiment, digest_of_federation
from mdhfl.runs.folder import (
    digests_of,
    read_federation,
    read_run,
    run_lock,
    site_settings_path,
    write_record,
)
from mdhfl.site.settings import read_site_settings
from mdhfl.store.terms import differences


def resume_run(
    folder: Path,
    *,
    asked: Mapping[str, Any] | None = None,
    rounds: int | None = None,
    min_sites: int | None = None,
    watch: str | None = None,
    trusted: Collection[str] = (),
) -> Experiment:
    """Return the experiment of an interrupted run.

    Args:
        folder: as `create_run` wrote it.
        asked: what the caller asks for now, named as in the record; what is not in it may be anything.
        rounds: more of them than before; None for as many.
        min_sites: valid replies that a round needs from now on; None for as many as before.
        watch: what follows from now on where a site's knowledge stands out; None for the same as before.
        trusted: modules of methods from elsewhere that may be imported.

    Raises:
        ValueError: the folder holds no run; something else is asked for; or the federation, a site's bundle or a
            site's data are no longer those that the run was begun with.
        Damaged: the run's record is damaged.
    """
    experiment, record = read_run(folder, trusted=trusted)
    _check_asked(folder, record, asked or {})
    _check_unchanged(folder, record)
    changed = replace(
        experiment,
        rounds=_more_rounds(experiment, rounds),
        min_sites=experiment.min_sites if min_sites is None else min_sites,
        watch=experiment.watch if watch is None else watch,
    )
    if changed != experiment:
        with run_lock(folder):
            free = {"rounds": changed.rounds, "min_sites": changed.min_sites, "watch": changed.watch}
            write_record(folder, {**record, **free})
    return changed


def _check_asked(folder: Path, record: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    parameters = asked.get("parameters", {})
    known = {**record["parameters"], **with_prefix(record.get("bundle_changes", {}))}
    before = {name: record.get(name) for name in asked if name not in ("parameters", "bundles")}
    before["parameters"] = {name: known.get(name) for name in parameters}
    if "bundles" in asked:
        bundles = asked["bundles"]
        before["bundles"] = [site["bundle"] for site in record["sites"].values()]
        asked = {**asked, "bundles": [bundles[i % len(bundles)] for i in range(len(record["sites"]))]}
    if found := differences(before, {"parameters": {}, **asked}):
        raise ValueError(
            f"{folder}: --resume continues the run as it was begun, but was asked for something else: {found}. Leave "
            "that out, or start a new run with another --out"
        )


def _check_unchanged(folder: Path, record: Mapping[str, Any]) -> None:
    """Compare what lies on the disk now with what the run was begun with."""
    before: dict[str, Any] = {"federation_digest": record.get("federation_digest")}
    now: dict[str, Any] = {"federation_digest": digest_of_federation(read_federation(Path(record["federation"])))}
    for site, recorded in record["sites"].items():
        now[site] = digests_of(read_site_settings(site_settings_path(folder, site)))
        before[site] = {name: recorded.get(name) for name in now[site]}
    if found := differences(before, now):
        raise ValueError(
            f"{folder}: the run was begun with something else: {found}. Put it back, or start a new run with another "
            "--out"
        )


def _more_rounds(experiment: Experiment, rounds: int | None) -> int:
    if rounds is None or rounds == experiment.rounds:
        return experiment.rounds
    if experiment.last_round != experiment.rounds:
        raise ValueError(
            f"--rounds: {name_of(experiment.method)} ends by adopting the last merged model, so a run cannot be given "
            "more rounds; start a new run"
        )
    if rounds < experiment.rounds:
        raise ValueError(f"--rounds: expected at least the run's {experiment.rounds} on --resume, got {rounds}")
    return rounds
