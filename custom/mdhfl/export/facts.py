"""What is known of a site's trained model: its weights, how they came about, how good they are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mdhfl.files import read_json
from mdhfl.methods import name_of, parameters_of
from mdhfl.metrics import SCORES
from mdhfl.preprocessing.raw.cropping import parse_crops
from mdhfl.preprocessing.raw.limits import DEFAULTS
from mdhfl.preprocessing.raw.scaling import REFUSE
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
        scale: what the logits are multiplied by before, above 0.
        classes: in the order of the model's answers.
        image_size: pixels.
        crop: as in `mdhfl.preprocessing.raw.cropping.crop_side`; None also where the site's sources were cropped in
            different ways.
        window: the values that became black and white where pictures have more than 8 bits; None for none, or where
            the site's sources have different ones.
        nan: what was done with values that are not finite: "refuse" or "black".
        max_pixels: of one picture.
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
    scale: float
    classes: Sequence[str]
    image_size: int
    crop: float | None
    window: tuple[float, float] | None
    nan: str
    max_pixels: int
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

    def reading(self) -> dict[str, Any]:
        """Return how pictures were read, as an exported bundle's configuration names it."""
        return {name: getattr(self, name) for name in ("crop", "window", "nan", "max_pixels")}

    def provenance(self) -> dict[str, Any]:
        """Return how the model came about, as plain values."""
        names = ("federation", "site", "method", "settings", "rounds", "round", "which", "seed", "engine", "experiment")
        return {**{name: getattr(self, name) for name in names}, "public_digest": self.public_digest}


def facts_of_run(run_folder: Path, *, site: str, which: str | None) -> Facts:
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
    card, rows = read_card(settings.data), _rows_of(run_folder, site=site)
    none_best = "" if exists(paths["best"]) else why_none(images=sum(card["counts"]["validation"].values()))
    which, why = (which, "") if which else least_harm(rows, none_best=none_best)
    path = paths[which]
    if not exists(path):
        instead = f": {none_best}; take the last (--which last)" if which == "best" else ""
        raise ValueError(f"{path}: {site} has no {which} model{instead}")
    checkpoint = read_checkpoint(path, site=site, experiment=experiment.id)
    number = int(checkpoint["round"])
    scored = test_scores(rows, number=number, alone=which == "alone") or _best_scores(said, number=number)
    federation, roots = read_federation(Path(record["federation"])), (run_folder, Path(record["federation"]))
    return Facts(
        site=one_line(site),
        which=which,
        why=why,
        round=number,
        bundle=record["sites"][site]["bundle"],
        bundle_changes=settings.bundle_changes,
        architecture=shown(str(said.get("architecture") or Path(record["sites"][site]["bundle"]).name)),
        parameters=int(said.get("parameters", 0)),
        model=checkpoint["model"],
        prior=prior_of(checkpoint),
        scale=float(checkpoint.get("scale", 1.0)),
        scores={name: scored.get(name) for name in SCORES},
        recall=tuple(scored.get("recall") or [None] * len(experiment.classes)),
        engine=record["engine"],
        versions=shown(record.get("versions", {})),
        **shown(_of_experiment(experiment), roots=roots),
        **shown(of_data(card), roots=roots),
        **shown(of_federation(federation, card), roots=roots),
    )


def read_checkpoint(path: Path, *, site: str, experiment: str) -> dict[str, Any]:
    """Read a checkpoint. Raises ValueError if it is not this site's, of this experiment."""
    checkpoint = load_tensors(path)
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


def prior_of(checkpoint: Mapping[str, Any]) -> tuple[float, ...] | None:
    """Return what a checkpoint's model adds to its logits for images of the site's own mix."""
    prior = checkpoint.get("prior")
    return None if prior is None else tuple(prior.tolist())


def of_data(card: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the card of a site's data says."""
    return {"image_size": int(card["image_size"]), "counts": card["counts"], "noise": card["noise"]}


def of_federation(federation: Mapping[str, Any], card: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a federation.json says of the images of one of its sites."""
    own = [source for source in federation["sources"] if source["name"] in card["source"]]
    return {
        "crop": crop_of(federation["arguments"], sources=card["source"]),
        "window": window_of(federation, origins=card.get("origin", ())),
        "nan": str(federation["arguments"].get("nan", REFUSE)),
        "max_pixels": int(federation["arguments"].get("max_pixels", DEFAULTS.max_pixels)),
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


def window_of(federation: Mapping[str, Any], *, origins: Sequence[str]) -> tuple[float, float] | None:
    """Return the window of a site's pictures, which come from these origins; None for none, or for different ones."""
    reading = federation.get("reading", {})
    own = [reading[name] for name in origins if name in reading] or reading.values()
    found = {tuple(facts["window"] or ()) for facts in own}
    window = found.pop() if len(found) == 1 else ()
    return (float(window[0]), float(window[1])) if window else None


def test_scores(rows: Sequence[Mapping[str, Any]], *, number: int, alone: bool) -> dict[str, Any]:
    """Return the scores of a round on the clean test part, the model's or its twin's; nothing if no row tells."""
    for row in rows:
        if row["round"] == number:
            return dict(row["control"]["test"] if alone else row["test"])
    return {}


def _best_scores(said: Mapping[str, Any], *, number: int) -> dict[str, Any]:
    best = said.get("best", {})
    return dict(best) if best.get("round") == number else {}


def least_harm(rows: Sequence[Mapping[str, Any]], *, none_best: str) -> tuple[str, str]:
    """Return which model to take, and why if it is not the best on validation.

    Args:
        rows: of the site's rounds.
        none_best: why there is no best model; empty if there is one.
    """
    control = next((row["control"] for row in rows[-1:] if row.get("control")), None)
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


def read_card(data: Path) -> dict[str, Any]:
    """Read the card of a site's data. Raises ValueError if it is not there."""
    path = data / "card.json"
    if not path.is_file():
        raise ValueError(f"{path}: missing, but the model card needs it; is the federation folder still in its place?")
    return read_json(path)
