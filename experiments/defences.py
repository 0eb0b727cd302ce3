"""What each defence costs, and what it takes from an audit: `python -m experiments.defences --data ../shared/data`.

A small federation of real blood cells for each seed, MDH-FL+ with one defence at every site. A row is appended to
`experiments/defences.csv` after each run, what is there is not run again, and docs/privacy.md shows the table: a row
says how many seeds it has.
"""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import click

from experiments.document import ROOT, replaced, table
from mdhfl.audit.candidates import load_candidates
from mdhfl.audit.evidence import Recorder, read_evidence
from mdhfl.audit.intervals import together
from mdhfl.audit.labels import distribution_of, mean_answer, total_variation
from mdhfl.audit.likelihood import confidence
from mdhfl.audit.shadows import answers_about_images, mean_of, open_model, student_of
from mdhfl.comparison.scores import score_on_all
from mdhfl.jobs import RECIPES
from mdhfl.learning.cache import ImageCache
from mdhfl.learning.images import image_size_of
from mdhfl.preprocessing.arguments import PrepareArguments
from mdhfl.preprocessing.prepare import prepare
from mdhfl.runs.folder import RunOptions, create_run, read_run
from mdhfl.runs.inprocess import run_in_process
from mdhfl.server.journal import read_rows
from mdhfl.showing.sheets import read_csv, to_csv
from mdhfl.store.sealed import exists

FOUND, PAGE, MARK = ROOT / "experiments" / "defences.csv", ROOT / "docs" / "privacy.md", "defences"
SEEDS, ROUNDS = (0, 1, 2), 3
BUNDLES = ("mobilenet_v2_group",)  # at every site: the one that can be trained with differential privacy
CHANGES = {"warm_up_epochs": 6, "local_epochs": 2, "competence_epochs": 2, "views": 1}
NONE = "none"
DEFENCES: Mapping[str, Mapping[str, Any]] = {  # as RunOptions takes them
    NONE: {},
    "4 bits a number": {"defences": {"precision": 4}},
    "1 bit a number": {"defences": {"precision": 1}},
    "the 2 likeliest of 8 classes": {"defences": {"top_k": 2}},
    "temperature 4": {"defences": {"temperature": 4}},
    "no probability above 0.5": {"defences": {"confidence": 0.5}},
    "new answers in 1 round of 4": {"defences": {"rounds": 1}},
    "a quarter of the images in a round": {"defences": {"answered": 0.25}},
    "DP-SGD, epsilon 8": {"privacy": {"epsilon": 8, "delta": 1e-3}},
    "DP-SGD, epsilon 50": {"privacy": {"epsilon": 50, "delta": 1e-3}},
    "DP-SGD, epsilon 100,000": {"privacy": {"epsilon": 100_000, "delta": 1e-3}},  # hardly any noise: what else it costs
}
COLUMNS = ("seed", "defence", "macro_f1", "bytes", "membership_auc", "label_error")


@click.command()
@click.option("--data", type=click.Path(path_type=Path), required=True, help="Folder with the real images.")
@click.option("--work", type=click.Path(path_type=Path), default=Path("runs/defences"), help="Folder for the runs.")
def main(data: Path, work: Path) -> None:
    """Run what is missing, seed by seed, then write the table."""
    import torch

    torch.set_num_threads(1)
    for seed in SEEDS:
        federation = work / f"federation-{seed}"
        prepare(_federation(federation, data=data, seed=seed), workers=1)
        for defence in DEFENCES:
            if (str(seed), defence) not in {(row["seed"], row["defence"]) for row in rows()}:
                append(measure(work, federation, seed=seed, defence=defence))
    document()


def _federation(out: Path, *, data: Path, seed: int) -> PrepareArguments:
    return PrepareArguments(
        source="acevedo20", raw=data / "acevedo20_64px.zip", label_space="acevedo8", public="matek19",
        public_raw=data / "matek19_tiles_108px.zip", public_count=200, sites=4, per_site=200, test=0.4, image_size=32,
        split="dirichlet", alpha=0.5, noise="symmetric", noise_rate=(0.2,), seed=seed, out=out,
    )  # fmt: skip


def measure(work: Path, federation: Path, *, seed: int, defence: str) -> dict[str, Any]:
    """Train with one defence, score the last models on all sites' test images, and attack what was sent."""
    run, cache = work / f"{list(DEFENCES).index(defence)}-{seed}", ImageCache(work / "cache")
    if not exists(run / "summary.json"):
        shutil.rmtree(run, ignore_errors=True)  # of an interrupted measurement
        options = RunOptions(
            federation=federation, bundles=BUNDLES, seed=seed, rounds=ROUNDS, changes=CHANGES, **DEFENCES[defence]
        )
        experiment = create_run(run, recipe=RECIPES["mdhfl_plus"], options=options)
        run_in_process(run, experiment=experiment, on_answer=Recorder(run), cache=cache)
    experiment, _ = read_run(run)
    scores = score_on_all(run, experiment=experiment, cache=cache)
    sent = [row["bytes"]["up"] for row in read_rows(run / "results.jsonl")]
    return {
        "seed": seed,
        "defence": defence,
        "macro_f1": round(100 * mean(each["macro_f1"] for each in scores.values()), 2),
        "bytes": round(sum(sent) / len(experiment.sites)),
        **_given_away(run),
    }


def _given_away(run: Path) -> dict[str, float]:
    """Attack the mean answers of each site as `mdhfl audit` does, without shadow models and reconstructions.

    Returns:
        membership_auc: of a student's confidence in the label of an image that the site may have trained on, over all
            sites; label_error: of the site's mix of classes as its mean answer tells it, in the mean over sites.
    """
    evidence = read_evidence(run)
    members, others, errors = [], [], []
    for site in evidence.sites.values():
        size = image_size_of(site.settings.data)
        candidates = load_candidates(site.settings, model=open_model(evidence, site, image_size=size))
        answers = mean_of([answers_about_images(each, images=len(candidates.public)) for each in site.knowledge])
        assert answers is not None
        sure = confidence(student_of(candidates, answers), candidates.labels.numpy())
        members.append(sure[: candidates.members])
        others.append(sure[candidates.members :])
        truth = distribution_of(candidates.training_labels, classes=len(candidates.classes))
        errors.append(total_variation(truth, mean_answer(answers)))
    auc = together(list(zip(members, others, strict=True))).auc
    return {
        "membership_auc": round(auc.value, 3) if auc is not None else float("nan"),
        "label_error": round(mean(errors), 3),
    }


def rows() -> list[dict[str, str]]:
    """Return what was measured."""
    return read_csv(FOUND) if FOUND.exists() else []


def append(row: Mapping[str, Any]) -> None:
    """Write one more row."""
    FOUND.write_text(to_csv([*rows(), row], columns=COLUMNS), encoding="utf-8", newline="")


def document() -> None:
    """Write the table into the page."""
    PAGE.write_text(replaced(PAGE.read_text(encoding="utf-8"), MARK, table(lines(rows()))), encoding="utf-8")


def lines(found: Sequence[Mapping[str, str]]) -> list[list[str]]:
    """Return the table: means over a defence's seeds, and its loss of macro-F1 against none on the same seeds."""
    alone = {row["seed"]: row for row in found if row["defence"] == NONE}
    head = ["defence", "seeds", "macro-F1", "its price, points", "kB a site", "membership, AUC", "label mix, error"]
    written = [head]
    for defence in DEFENCES:
        own = [row for row in found if row["defence"] == defence and row["seed"] in alone]
        if not own:
            continue
        price = mean(float(alone[row["seed"]]["macro_f1"]) - float(row["macro_f1"]) for row in own)
        written.append([
            defence,
            str(len(own)),
            _mean(own, "macro_f1", ".1f"),
            "" if defence == NONE else f"{price:+.1f}",
            f"{mean(float(row['bytes']) for row in own) / 1000:.1f}",
            _mean(own, "membership_auc", ".3f"),
            _mean(own, "label_error", ".2f"),
        ])  # fmt: skip
    return written


def _mean(found: Sequence[Mapping[str, str]], name: str, form: str) -> str:
    """Return a mean with the smallest and the largest in brackets, where there are several."""
    values = [float(row[name]) for row in found]
    span = f" ({min(values):{form}} to {max(values):{form}})" if len(values) > 1 else ""
    return f"{mean(values):{form}}{span}"


if __name__ == "__main__":
    main()
