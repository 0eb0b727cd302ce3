"""What a site knows of its own trained model, from its own folder of an experiment."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mdhfl.export.facts import (
    Facts,
    facts_of_run,
    least_harm,
    of_data,
    of_federation,
    prior_of,
    read_card,
    read_checkpoint,
    test_scores,
)
from mdhfl.learning.bundle_digest import bundle_digest
from mdhfl.metrics import SCORES
from mdhfl.preprocessing.raw.limits import DEFAULTS
from mdhfl.preprocessing.raw.scaling import REFUSE
from mdhfl.reports.site_run import is_site_folder, rows_of_part
from mdhfl.runs.folder import read_federation
from mdhfl.showing.texts import one_line, shown
from mdhfl.site.best import why_none
from mdhfl.site.history import Part, read_part
from mdhfl.store.sealed import exists


def gather_facts(folder: Path, *, site: str | None, which: str | None) -> Facts:
    """Read what is known of a site's model.

    Args:
        folder: of a finished run, or a site's own folder of an experiment.
        site: whose model; None where the folder is a site's.
        which: one of `facts.WHICH`; None for the model that is best on validation, or, where there is a control and
            sharing did harm by more than the noise of that estimate, for the twin that trained alone.

    Raises:
        ValueError: neither kind of folder, not finished, no such site, or the site has no model.
    """
    if is_site_folder(folder):
        return _facts_of_part(folder, read_part(folder), site=site, which=which)
    if site is None:
        raise ValueError(f"--site: {folder} is no site's folder of an experiment; say whose model of the run to export")
    return facts_of_run(folder, site=site, which=which)


def _facts_of_part(folder: Path, part: Part, *, site: str | None, which: str | None) -> Facts:
    if site not in (None, part.site):
        raise ValueError(f"--site: {folder} is the folder of {part.site}, got {site!r}")
    rows = [row for row in rows_of_part(part) if row["status"] == "ok"]
    card = read_card(part.data)
    none_best = "" if exists(folder / "best.pt") else why_none(images=sum(card["counts"]["validation"].values()))
    which, why = (which, "") if which else least_harm(rows, none_best=none_best)
    path = folder / f"{which}.pt"
    if not exists(path):
        yet = "" if part.finished else "; the server has not ended the experiment yet"
        raise ValueError(f"{path}: {part.site} has no {which} model{yet}")
    _check_bundle(part)
    checkpoint = read_checkpoint(path, site=part.site, experiment=part.experiment)
    number, about = int(checkpoint["round"]), rows[-1]["about"]
    scored = test_scores(rows, number=number, alone=which == "alone")
    roots = (folder, part.data)
    return Facts(
        site=one_line(part.site),
        which=which,
        why=why,
        round=number,
        bundle=part.bundle,
        bundle_changes=part.bundle_changes,
        architecture=shown(str(about["architecture"])),
        parameters=int(about["parameters"]),
        model=checkpoint["model"],
        prior=prior_of(checkpoint),
        scale=float(checkpoint.get("scale", 1.0)),
        scores={name: scored.get(name) for name in SCORES},
        recall=tuple(scored.get("recall") or [None] * len(part.classes)),
        engine="",
        versions={},
        **shown(_of_part(part), roots=roots),
        **shown(of_data(card), roots=roots),
        **shown(_of_federation(part, card), roots=roots),
    )


def _check_bundle(part: Part) -> None:
    """Refuse to put weights into another bundle than the one that learned them."""
    now = bundle_digest(part.bundle, changes=part.bundle_changes)[: len(part.bundle_digest)]
    if now != part.bundle_digest:
        raise ValueError(
            f"bundle {part.bundle}: changed since the model was trained ({part.bundle_digest}, now {now}); put the old "
            "one back"
        )


def _of_part(part: Part) -> dict[str, Any]:
    return {
        "classes": part.classes,
        "method": part.method,
        "settings": dict(part.parameters),
        "rounds": part.last_round,
        "seed": part.seed,
        "experiment": part.experiment,
        "public_digest": part.public_digest,
    }


def _of_federation(part: Part, card: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the federation's card says, where the site has it: its data lies where `mdhfl prepare` wrote it."""
    folder = part.data.parent.parent
    if part.data.parent.name == "sites" and (folder / "federation.json").is_file():
        return of_federation(read_federation(folder), card)
    said = {"title": ", ".join(card["source"]), "licence": card["licence"], "citation": card["citation"], "url": ""}
    unknown = {"crop": None, "window": None, "nan": REFUSE, "max_pixels": DEFAULTS.max_pixels}
    return {**unknown, "sources": [said], "federation": f"public set {part.public_digest[:8]}"}
