"""What three methods give away, measured: `python -m experiments.privacy --data ../shared/data`.

Three seeds of one federation of real blood cells like the headline's, but smaller. Every message of every round is
recorded, each run is audited as `mdhfl audit` does, `experiments/privacy.csv` gets a row a seed, method and site, and
docs/privacy.md the table. What is there is not run again.
"""

from pathlib import Path
from statistics import mean, stdev
from typing import Any

import click

from experiments.document import ROOT, replaced, table
from mdhfl.audit.audit import HOLDER, LIRA, RECEIVER, audit
from mdhfl.audit.evidence import Recorder
from mdhfl.audit.record import FILE, write_audit
from mdhfl.files import read_json
from mdhfl.jobs import RECIPES
from mdhfl.preprocessing.arguments import PrepareArguments
from mdhfl.preprocessing.prepare import prepare
from mdhfl.runs.folder import BUILT_IN_BUNDLES, RunOptions, create_run, read_run
from mdhfl.runs.inprocess import run_in_process
from mdhfl.server.journal import read_rows
from mdhfl.showing.sheets import read_csv, to_csv
from mdhfl.store.sealed import exists

FOUND, PAGE = ROOT / "experiments" / "privacy.csv", ROOT / "docs" / "privacy.md"
SEEDS, SHADOWS, ROUNDS = (0, 1, 2), 4, 4
EPOCHS = {"warm_up_epochs": 8, "local_epochs": 2}
METHODS = {"mdhfl_plus": "MDH-FL+", "fedmd": "FedMD", "fedavg": "FedAvg"}
ONE_BUNDLE = ("resnet10",)  # FedAvg's: it averages weights
ALL, COMPETENCES = "together", "competences"
COLUMNS = (
    "method", "seed", "site", "answers_error", "competences_error", "uniform_error", "messages_auc", "messages_tpr",
    "model_auc", "model_tpr", "inversion_gain", "bytes",
)  # fmt: skip


@click.command()
@click.option("--data", type=click.Path(path_type=Path), required=True, help="Folder with the real images.")
@click.option("--work", type=click.Path(path_type=Path), default=Path("runs/privacy"), help="Folder for the runs.")
@click.option("--seed", type=int, help="Run this one only; the table is of whatever is there.")
def main(data: Path, work: Path, seed: int | None) -> None:
    """Run and audit what is missing, then write the table."""
    import torch

    torch.set_num_threads(1)
    for number in SEEDS if seed is None else (seed,):
        federation = _federation(work / f"federation-{number}", data=data, seed=number)
        for method in METHODS:
            run = work / f"{method}-{number}"
            if not (run / FILE).is_file():
                _run(run, federation, method=method, seed=number)
                write_audit(audit(run, shadows=SHADOWS))
    if seed is None:
        rows = [row for method in METHODS for number in SEEDS for row in _rows(work, method=method, seed=number)]
        FOUND.write_text(to_csv(rows, columns=COLUMNS), encoding="utf-8", newline="")
        PAGE.write_text(page(), encoding="utf-8")


def _federation(folder: Path, *, data: Path, seed: int) -> Path:
    arguments = PrepareArguments(
        source="acevedo20", raw=data / "acevedo20_64px.zip", label_space="acevedo8", public="matek19",
        public_raw=data / "matek19_tiles_108px.zip", public_count=200, sites=4, per_site=200, validation=0.1, test=0.4,
        image_size=32, split="dirichlet", alpha=0.5, noise="symmetric", noise_rate=(0.2,), seed=seed, out=folder,
    )  # fmt: skip
    if not folder.exists():
        prepare(arguments, workers=1)
    return folder


def _run(folder: Path, federation: Path, *, method: str, seed: int) -> None:
    if exists(folder / "summary.json"):
        return
    bundles = ONE_BUNDLE if method == "fedavg" else BUILT_IN_BUNDLES
    options = RunOptions(federation=federation, bundles=bundles, seed=seed, rounds=ROUNDS, changes=EPOCHS)
    if exists(folder / "experiment.json"):
        experiment, _ = read_run(folder)  # it was interrupted
    else:
        experiment = create_run(folder, recipe=RECIPES[method], options=options)
    run_in_process(folder, experiment=experiment, on_answer=Recorder(folder))


def _rows(work: Path, *, method: str, seed: int) -> list[dict[str, Any]]:
    run = work / f"{method}-{seed}"
    found, told = read_json(run / FILE), [row for row in read_rows(run / "results.jsonl") if row["status"] == "ok"]
    rows = []
    for site in found["sites"]:
        labels, inversion = site["labels"] or {}, site["inversion"] or {}
        errors = labels.get("errors", {})
        measured = {
            "answers_error": min((error for name, error in errors.items() if name != COMPETENCES), default=None),
            "competences_error": errors.get(COMPETENCES),
            "uniform_error": labels.get("uniform"),
            "inversion_gain": inversion.get("gain"),
            "bytes": sum(row["bytes"]["up"] for row in told if row["site"] == site["site"]),
        }
        rows.append({"site": site["site"], **measured, **_membership(site["membership"])})
    nothing = dict.fromkeys(("answers_error", "competences_error", "uniform_error", "inversion_gain", "bytes"))
    rows.append({"site": ALL, **nothing, **_membership(found["together"]["membership"])})
    return [{"method": method, "seed": seed, **_rounded(row)} for row in rows]


def _membership(attacks: list[dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for column, threat in (("messages", RECEIVER), ("model", HOLDER)):
        one = next((each for each in attacks if (each["threat"], each["attack"]) == (threat, LIRA)), None)
        found[f"{column}_auc"] = one["auc"]["value"] if one and one["auc"] else None
        found[f"{column}_tpr"] = one["tpr"]["0.01"]["value"] if one and one["tpr"]["0.01"] else None
    return found


def _rounded(row: dict[str, Any]) -> dict[str, Any]:
    return {name: round(value, 4) if isinstance(value, float) else value for name, value in row.items()}


def page() -> str:
    """Return what the page should say."""
    return replaced(PAGE.read_text(encoding="utf-8"), "audited", audited(read_csv(FOUND)))


def audited(rows: list[dict[str, str]]) -> str:
    """Return the table: methods in columns, mean over seeds (of means over sites) ± standard deviation over seeds."""

    def over_seeds(method: str, column: str, *, together: bool, form: str, scale: float = 1) -> str:
        chosen = [row for row in rows if row["method"] == method and (row["site"] == ALL) == together and row[column]]
        seeds = sorted({row["seed"] for row in chosen})
        values = [scale * mean(float(row[column]) for row in chosen if row["seed"] == seed) for seed in seeds]
        if not values:
            return "\N{EN DASH}"
        spread = stdev(values) if len(values) > 1 else 0.0
        return f"{mean(values):{form}} ± {spread:{form}}"

    lines = [
        ("error of the label distribution from the answers, best estimate (0 to 1)", "answers_error", False, ".2f", 1),
        ("the same from the competences", "competences_error", False, ".2f", 1),
        ("the same of a uniform guess", "uniform_error", False, ".2f", 1),
        ("membership, receiver of the messages: AUC of LiRA", "messages_auc", True, ".3f", 1),
        ("the same: members found at 1 % false positives, %", "messages_tpr", True, ".1f", 100),
        ("membership, holder of the model: AUC of LiRA", "model_auc", True, ".3f", 1),
        ("the same: members found at 1 % false positives, %", "model_tpr", True, ".1f", 100),
        ("reconstruction: gain over the class mean, dB", "inversion_gain", False, ".1f", 1),
        ("sent by a site in all rounds, kB", "bytes", False, ".0f", 1e-3),
    ]
    body = [
        [title, *(over_seeds(m, column, together=together, form=form, scale=scale) for m in METHODS)]
        for title, column, together, form, scale in lines
    ]
    return table([["measure", *METHODS.values()], *body])


if __name__ == "__main__":
    main()
