"""How right MDH-FL+'s teachers are about the public images: `python -m experiments.teachers --data ../shared/data`.

Runs the headline's federations of Dirichlet 0.5 and 0.1, with and without wrong labels, and compares what the sites and
their teacher say of the public images with the labels that their source has and nobody in the federation sees. Rows are
appended to `experiments/teachers.csv` as they come, what is there is not run again, and docs/results.md gets the table.
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import mean
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from experiments.document import ROOT, replaced, table
from mdhfl.jobs import RECIPES
from mdhfl.preprocessing.arguments import PrepareArguments
from mdhfl.preprocessing.prepare import prepare
from mdhfl.runs.folder import BUILT_IN_BUNDLES, RunOptions, create_run
from mdhfl.runs.inprocess import run_in_process
from mdhfl.sharing.competence import class_teacher, class_weighted_sum
from mdhfl.sharing.knowledge import Knowledge
from mdhfl.sharing.messages import Answer, Request
from mdhfl.showing.sheets import read_csv, to_csv

FOUND, PAGE = ROOT / "experiments" / "teachers.csv", ROOT / "docs" / "results.md"
PUBLIC, SPACE, SIZE = "matek19_tiles_108px.zip", "acevedo8", 32
SEEDS, ROUNDS = (0, 1, 2), 8
EPOCHS = {"warm_up_epochs": 8, "local_epochs": 2, "align_epochs": 1}
CELLS = tuple((alpha, rate) for alpha in (0.5, 0.1) for rate in (0.0, 0.2))  # Dirichlet, share of wrong labels
COLUMNS = ("alpha", "noise_rate", "seed", "round", "class", "images", "sites", "best", "teacher")
END = str(ROUNDS)


@click.command()
@click.option("--data", type=click.Path(path_type=Path), required=True, help="Folder with the real images.")
@click.option("--work", type=click.Path(path_type=Path), default=Path("runs/teachers"), help="Folder for the runs.")
def main(data: Path, work: Path) -> None:
    """Run what is missing, then write the table."""
    import torch

    torch.set_num_threads(1)
    known = labels_by_digest(data, work / "labelled")
    for seed in SEEDS:
        for alpha, rate in CELLS:
            if not any(_place(row) == (str(alpha), str(rate), str(seed)) for row in rows()):
                found = list(_measure(data, work, known, alpha=alpha, rate=rate, seed=seed))
                FOUND.write_text(to_csv([*rows(), *found], columns=COLUMNS), encoding="utf-8", newline="")
    PAGE.write_text(page(), encoding="utf-8")


def rows() -> list[dict[str, str]]:
    """Return what was measured."""
    return read_csv(FOUND) if FOUND.exists() else []


def _place(row: Mapping[str, str]) -> tuple[str, str, str]:
    return row["alpha"], row["noise_rate"], row["seed"]


def labels_by_digest(data: Path, folder: Path) -> dict[str, str]:
    """Return the class of every picture that the public set may have, by the digest of its pixels."""
    arguments = PrepareArguments(
        source="matek19", raw=data / PUBLIC, label_space=SPACE, sites=1, validation=0, image_size=SIZE,
        public="synthetic", public_count=2, out=folder,
    )  # fmt: skip
    prepare(arguments, workers=1)
    classes = json.loads((folder / "federation.json").read_text(encoding="utf-8"))["classes"]
    listed = json.loads((folder / "sites" / "site-1" / "datalist.json").read_text(encoding="utf-8"))
    return {item["digest"]: classes[item["label"]] for part in ("training", "test") for item in listed[part]}


def _measure(
    data: Path, work: Path, known: Mapping[str, str], *, alpha: float, rate: float, seed: int
) -> Iterator[dict[str, Any]]:
    """Run one federation, and yield a row a round and class."""
    name = f"{alpha}-{rate}-{seed}"
    federation, run = work / f"federation-{name}", work / f"run-{name}"
    arguments = PrepareArguments(
        source="acevedo20", raw=data / "acevedo20_64px.zip", label_space=SPACE, public="matek19",
        public_raw=data / PUBLIC, public_count=400, sites=4, per_site=400, validation=0.1, test=0.4, image_size=SIZE,
        split="dirichlet", alpha=alpha, noise="symmetric" if rate else "none", noise_rate=(rate,) if rate else (),
        seed=seed, out=federation,
    )  # fmt: skip
    prepare(arguments, workers=1)
    shutil.rmtree(run, ignore_errors=True)  # if it was interrupted: what it has said is gone with the process
    options = RunOptions(federation=federation, bundles=BUILT_IN_BUNDLES, seed=seed, rounds=ROUNDS, changes=EPOCHS)
    experiment = create_run(run, recipe=RECIPES["mdhfl_plus"], options=options)
    said: dict[int, dict[str, Knowledge]] = {}

    def keep(request: Request, answer: Answer) -> None:
        if isinstance(answer.shared, Knowledge):
            said.setdefault(answer.round, {})[answer.site] = answer.shared

    run_in_process(run, experiment=experiment, on_answer=keep)
    listed = json.loads((federation / "public" / "datalist.json").read_text(encoding="utf-8"))["public"]
    classes = json.loads((federation / "federation.json").read_text(encoding="utf-8"))["classes"]
    truth = np.array([classes.index(known[item["digest"]]) if item["digest"] in known else -1 for item in listed])
    for number, told in sorted(said.items()):
        for row in recalls(told, truth=truth, classes=classes):
            yield {"alpha": alpha, "noise_rate": rate, "seed": seed, "round": number, **row}


def recalls(said: Mapping[str, Knowledge], *, truth: NDArray[np.int64], classes: list[str]) -> Iterator[dict[str, Any]]:
    """Yield, for each class of the public images, how many are recognised, by the sites and by their teacher.

    Args:
        said: site -> its (V * N, C) knowledge of one round.
        truth: (N,) classes of the public images; -1 for one that the label space does not have.
        classes: their names.
    """
    teacher = class_teacher(class_weighted_sum(said), own=None, site="", include_own=True)
    assert teacher is not None
    sites = [_answers(said[site].values, images=len(truth)) for site in sorted(said)]
    taught = _answers(teacher, images=len(truth))
    for number, name in enumerate(classes):
        those = truth == number
        if those.any():
            right = [float((answers[those] == number).mean()) for answers in sites]
            yield {
                "class": name,
                "images": int(those.sum()),
                "sites": round(mean(right), 4),
                "best": round(max(right), 4),
                "teacher": round(float((taught[those] == number).mean()), 4),
            }


def _answers(values: NDArray[np.floating], *, images: int) -> NDArray[np.int64]:
    """Return (N,) likeliest classes of (V * N, C) probabilities, the mean over the V views of an image."""
    return np.asarray(values.reshape(-1, images, values.shape[1]).mean(axis=0).argmax(axis=1), dtype=np.int64)


def page() -> str:
    """Return what the page should say."""
    return replaced(PAGE.read_text(encoding="utf-8"), "teachers", recalled(rows()))


def recalled(found: list[dict[str, str]]) -> str:
    """Return the table: for each federation the recall of a site, the best one and the teacher, means over seeds."""

    def cell(chosen: list[dict[str, str]]) -> str:
        return " / ".join(
            f"{100 * mean(float(row[who]) for row in chosen):.0f}" for who in ("sites", "best", "teacher")
        )

    def at(number: str, alpha: float, rate: float) -> list[dict[str, str]]:
        return [row for row in found if (row["round"], *_place(row)[:2]) == (number, str(alpha), str(rate))]

    names = sorted({row["class"] for row in found})
    head = [f"Dirichlet {alpha}, {f'symmetric {rate}' if rate else 'no noise'}" for alpha, rate in CELLS]
    body = [
        [name, *(cell([row for row in at(END, *place) if row["class"] == name]) for place in CELLS)] for name in names
    ]
    means = [
        [f"**all, {title}**", *(cell(at(number, *place)) for place in CELLS)]
        for title, number in (("at the end", END), ("after the warm-up", "0"))
    ]
    return table([["class", *head], *body, *means])


if __name__ == "__main__":
    main()
