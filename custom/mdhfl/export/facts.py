"""What is known of a site's trained model: its weights, how they came about, how good they are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mdhfl.files import read_json
from mdhfl.methods import name_of, parameters_of
from mdhfl.metrics import SCORES
from mdhfl.preprocessing.raw.cropping import parse_crops
from mdhfl.rounds.experiment import Experiment
from mdhfl.runs.folder import checkpoint_path, read_federation, read_run, site_settings_path
from mdhfl.server.journal import read_rows
from mdhfl.showing.texts import one_line, shown
from mdhfl.site.best import why_none
from mdhfl.site.settings import read_site_settings
from mdhfl.store.sealed import exists, read_sealed_json
from mdhfl.store.tensors import load_tensors

WHICH = ("best", "last", "alone")


@dataclass(frozen=True, kw_only=True)
class Facts:
    """All that an exported bundle says; its texts are `shown`.

    Attributes:
        site: whose model it is.
        which: "best" on validation, "last", or "alone": the twin that learned from nobody.
        why: why this one, where nobody asked for it and it is not the best; else empty.
        round: after which round.
        bundle: name or path of the site's bundle.
        bundle_changes: of its training, see `learning/bundle_changes.py`.
        architecture: for people.
        parameters: how many the network has.
        model: the state_dict.
        prior: of each class, to be added to the logits for images of the site's own mix; None if there is none.
        classes: in the order of the model's answers.
        image_size: pixels.
        crop: as in `mdhfl.preprocessing.raw.cropping.crop_side`; None also where the site's sources were cropped in
            different ways.
        scores: on the site's clean test part: accuracy, macro_f1, balanced_accuracy, ece, each in [0, 1], None where
            not recorded.
        recall: of each class, None where it is not known or the test part lacks the class.
        counts: part -> class -> images.
        noise: the label noise that was injected into the training labels, as in card.json.
        sources: of the site's images: title, licence, citation, url.
        method: name.
        settings: the method's hyper-parameters.
        rounds: of the run.
        seed: of the run.
        engine: "flare" or "inprocess".
        experiment: its id.
        federation: its name.
        public_digest: of the public set.
        versions: of the packages that trained the model.
    """

    site: str
    which: str
    why: str
    round: int
    bundle: str
    bundle_changes: Mapping[str, Any]
    architecture: str
    parameters: int
    model: Mapping[str, Any]
    prior: tuple[float, ...] | None
    classes: Sequence[str]
    image_size: int
    crop: float | None
    scores: Mapping[str, float | None]
    recall: tuple[float | None, ...]
    counts: Mapping[str, Mapping[str, int]]
    noise: Mapping[str, Any]
    sources: Sequence[Mapping[str, str]]
    method: str
    settings: Mapping[str, Any]
    rounds: int
    seed: int
    engine: str
    experiment: str
    federation: str
    public_digest: str
    versions: Mapping[str, str]

    def provenance(self) -> dict[str, Any]:
        """Return how the model came about, as plain values."""
        names = ("federation", "site", "method", "settings", "rounds", "round", "which", "seed", "engine", "experiment")
        return {**{name: getattr(self, name) for name in names}, "public_digest": self.public_digest}


def gather_facts(run_folder: Path, *, site: str, which: str | None) -> Facts:
    """Read a finished run and its federation.

    Args:
        run_folder: of the run.
        site: one of its sites.
        which: one of WHICH; None for the model that is best on validation, for the last where validation cannot tell
            (`site/best.py`), or, where the run has a control and sharing did harm by more than the noise of that
            estimate, for the twin that trained alone.

    Raises:
        ValueError: no run, not finished, no such site, or the site has no model.
    """
    experiment, record = read_run(run_folder)
    if site not in experiment.sites:
        raise ValueError(f"--site: no {site!r} in {run_folder}; its sites are {', '.join(experiment.sites)}")
    summary = _read_summary(run_folder)
    said = summary["sites"].get(site, {})
    paths = {one: checkpoint_path(run_folder, experiment=experiment, site=site, which=one) for one in WHICH}
    if not any(map(exists, paths.values())):
        reasons = [str(refusal["reason"]) for refusal in said.get("refused", [])]
        raise ValueError(f"{paths['last']}: {site} has no model" + (f": {reasons[-1]}" if reasons else ""))
    settings = read_site_settings(site_settings_path(run_folder, site))
    card = _read_card(settings.data / "card.json")
    none_best = "" if exists(paths["best"]) else why_none(images=sum(card["counts"]["validation"].values()))
    which, why = (which, "") if which else _chosen(run_folder, site=site, none_best=none_best)
    path = paths[which]
    if not exists(path):
        instead = f": {none_best}; take the last (--which last)" if which == "best" else ""
        raise ValueError(f"{path}: {site} has no {which} model{instead}")
    checkpoint = _own(load_tensors(path), path, site=site, experiment=experiment.id)
    scored = _test_scores(run_folder, said, site=site, number=int(checkpoint["round"]), alone=which == "alone")
    prior = checkpoint.get("prior")
    federation, roots = read_federation(Path(record["federation"])), (run_folder, Path(record["federation"]))
    return Facts(
        site=one_line(site),
        which=which,
        why=why,
        round=int(checkpoint["round"]),
        bundle=record["sites"][site]["bundle"],
        bundle_changes=settings.bundle_changes,
        architecture=shown(str(said.get("architecture") or Path(record["sites"][site]["bundle"]).name)),
        parameters=int(said.get("parameters", 0)),
        model=checkpoint["model"],
        prior=None if prior is None else tuple(prior.tolist()),
        scores={name: scored.get(name) for name in SCORES},
        recall=tuple(scored.get("recall") or [None] * len(experiment.classes)),
        engine=record["engine"],
        versions=shown(record.get("versions", {})),
        **shown(_of_experiment(experiment), roots=roots),
        **shown(_of_data(federation, card), roots=roots),
    )


def _own(checkpoint: dict[str, Any], path: Path, *, site: str, experiment: str) -> dict[str, Any]:
    """Return a checkpoint if it is this site's, of this experiment."""
    found = (checkpoint.get("site"), checkpoint.get("experiment"))
    if found != (site, experiment):
        raise ValueError(f"{path}: expected the model of {site} in experiment {experiment}, got that of {found}")
    return checkpoint


def _of_experiment(experiment: Experiment) -> dict[str, Any]:
    return {
        "classes": experiment.classes,
        "method": name_of(experiment.method),
        "settings": parameters_of(experiment.method),
        "rounds": experiment.rounds,
        "seed": experiment.seed,
        "experiment": experiment.id,
        "public_digest": experiment.public_digest,
    }


def _of_data(federation: Mapping[str, Any], card: Mapping[str, Any]) -> dict[str, Any]:
    own = [source for source in federation["sources"] if source["name"] in card["source"]]
    return {
        "image_size": int(card["image_size"]),
        "crop": crop_of(federation["arguments"], sources=card["source"]),
        "counts": card["counts"],
        "noise": card["noise"],
        "sources": own or federation["sources"],
        "federation": federation["name"],
    }


def crop_of(arguments: Mapping[str, Any], *, sources: Sequence[str]) -> float | None:
    """Return how the images of these sources were cropped; None for not at all, or in different ways."""
    crops = parse_crops(tuple(arguments.get("crop", ())))
    named = [arguments.get("source", ""), *(text.partition("=")[0] for text in arguments.get("also", ()))]
    own = [name for name in sources if name in named] or named
    found = {crops.get(name, crops.get("")) for name in own}
    return found.pop() if len(found) == 1 else None


def _test_scores(run_folder: Path, said: Mapping[str, Any], *, site: str, number: int, alone: bool) -> dict[str, Any]:
    """Return the scores of a round on the clean test part, from the round's row or else from the summary."""
    for row in _rows_of(run_folder, site=site):
        if row["round"] == number:
            return dict(row["control"]["test"] if alone else row["test"])
    best = said.get("best", {})
    return dict(best) if best.get("round") == number else {}


def _chosen(run_folder: Path, *, site: str, none_best: str) -> tuple[str, str]:
    """Return which model to take, and why if it is not the best on validation.

    Args:
        none_best: why there is no best model; empty if there is one.
    """
    control = next((row["control"] for row in _rows_of(run_folder, site=site)[-1:] if row.get("control")), None)
    if control is None or not control["harmed"]:
        return ("last", none_best) if none_best else ("best", "")
    points = "{difference:+.3f} (95 % interval {low:+.3f} to {high:+.3f})".format(**control)
    return "alone", f"sharing changed the macro-F1 on this site's validation images by {points}"


def _rows_of(run_folder: Path, *, site: str) -> list[dict[str, Any]]:
    rows = read_rows(run_folder / "results.jsonl")
    return [row for row in rows if row.get("site") == site and row.get("status") == "ok"]


def _read_summary(run_folder: Path) -> dict[str, Any]:
    path = run_folder / "summary.json"
    summary = read_sealed_json(path) if exists(path) else {}
    if summary.get("status") != "finished":
        raise ValueError(f"{run_folder}: the run is not finished; continue it with `mdhfl run ... --resume`")
    return summary


def _read_card(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ValueError(f"{path}: missing, but the model card needs it; is the federation folder still in its place?")
    return read_json(path)
