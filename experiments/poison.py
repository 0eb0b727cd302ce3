"""One site sends bad knowledge: what it costs the others, and when the watch names it.

`python -m experiments.poison --data ../shared/data --work <folder>` runs what is not in `experiments/poison.csv` yet,
appends each run as it ends, replays the honest runs' messages with attacks put in (`poison_replay.py`), and writes the
tables into docs/results.md; `--tables` writes them alone. Real blood cells
at 32 pixels, sites with 120 images and small networks, so that a run takes seconds: differences count here, not levels.
"""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from statistics import mean
from typing import Any

import click

from experiments.attacks import ATTACKS, poisoned
from experiments.document import ROOT, replaced, table
from experiments.poison_replay import append, keep_messages, replay_all, replay_table
from experiments.small_federations import SPLITS, bundles_in, small_federation, with_flipped_labels
from mdhfl.comparison.scores import score_on_all
from mdhfl.jobs import RECIPES
from mdhfl.learning.cache import ImageCache
from mdhfl.rounds.loop import federate
from mdhfl.runs.folder import RunOptions, create_run
from mdhfl.runs.inprocess import ask_in_process, open_sites
from mdhfl.server.results import Results
from mdhfl.sharing.exchange import Round
from mdhfl.showing.sheets import read_csv

MEASURED = ROOT / "experiments" / "poison.csv"
PAGE = ROOT / "docs" / "results.md"
SEEDS = (100, 101, 102)  # the watch's numbers were chosen on these and six more: they compare teachers, without it
FRESH = (109, 110, 111)  # nobody had seen these when its numbers were chosen: they test the watch
ROUNDS = 5
SET = {"warm_up_epochs": 6, "views": 2, "competence_epochs": 3}
HONEST, FLIPS, COLLUDING = "none", "label flips", "two collude"
ALONE, WITHOUT_BOTH = "without the site", "without both"
ATTACKED = ("permuted", "sharp and permuted", "random rows", "one class", FLIPS, "slow drift", "copy", "two swapped")
DEFENCES: Mapping[str, Mapping[str, Any]] = {  # title -> hyper-parameters, and what the watch does with FRESH seeds
    "mean": {"robust": "mean", "watch": "tell"},
    "median": {"robust": "median", "watch": "off"},
    "trimmed": {"robust": "trimmed", "watch": "off"},
    "filter": {"robust": "filter", "watch": "off"},
    "weigh": {"robust": "mean", "watch": "weigh"},
    "put aside": {"robust": "mean", "watch": "put_aside"},
}
TEACHERS, WATCHES = ("mean", "median", "trimmed", "filter"), ("mean", "put aside", "weigh")
FIELDS = ("split", "seed", "attack", "defence", "macro_f1", "named_in", "false_alarms", "looked_at")


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One run.

    Attributes:
        split: of SPLITS.
        seed: of everything.
        attack: by the last site; ALONE: it takes no part, WITHOUT_BOTH: nor does the fifth, HONEST: it is honest.
        defence: of DEFENCES.
    """

    split: str
    seed: int
    attack: str
    defence: str

    @property
    def sites(self) -> int:
        """How many sites the federation has."""
        return 5 if self.attack in (COLLUDING, WITHOUT_BOTH) else 4

    @property
    def honest(self) -> tuple[str, ...]:
        """The sites whose scores count: three of them, whatever the last ones do."""
        return "site-1", "site-2", "site-3"

    @property
    def attackers(self) -> tuple[str, ...]:
        """The sites that poison."""
        if self.attack in (HONEST, ALONE, WITHOUT_BOTH):
            return ()
        return tuple(f"site-{k}" for k in range(4, self.sites + 1))

    @property
    def key(self) -> tuple[str, ...]:
        """What tells it from other cells in the CSV."""
        return self.split, str(self.seed), self.attack, self.defence


def cells() -> Iterator[Cell]:
    """Yield the runs, the most telling first."""
    for seed, defences in (*((seed, WATCHES) for seed in FRESH), *((seed, TEACHERS) for seed in SEEDS)):
        for attack in (ALONE, WITHOUT_BOTH):
            yield Cell(split="0.5", seed=seed, attack=attack, defence="mean")
        for attack, defence in product((HONEST, *ATTACKED, COLLUDING), defences):
            yield Cell(split="0.5", seed=seed, attack=attack, defence=defence)
    for seed, split, defence in product(FRESH, SPLITS, ("mean", "put aside")):
        if split != "0.5":
            yield Cell(split=split, seed=seed, attack=HONEST, defence=defence)


@click.command()
@click.option("--data", type=click.Path(path_type=Path), help="Folder with the real images.")
@click.option("--work", type=click.Path(path_type=Path), help="Folder for what is made on the way.")
@click.option("--seed", "seeds", type=int, multiple=True, help="Only these; repeatable.")
@click.option("--tables", is_flag=True, help="Write the tables and run nothing.")
def main(*, data: Path | None, work: Path | None, seeds: tuple[int, ...], tables: bool) -> None:
    """Run what is missing, and write the tables."""
    if not tables:
        if data is None or work is None:
            raise click.UsageError("give --data and --work, or --tables")
        for cell in cells():
            if (not seeds or cell.seed in seeds) and cell.key not in {_key(row) for row in measured()}:
                append(MEASURED, FIELDS, [run(cell, data=data, work=work)])
        replay_all(work / "messages")
    PAGE.write_text(page(), encoding="utf-8")


def run(cell: Cell, *, data: Path, work: Path) -> dict[str, Any]:
    """Run a cell and return its row."""
    federation = small_federation(cell.split, seed=cell.seed, sites=cell.sites, data=data, work=work)
    if cell.attack == FLIPS:
        federation = with_flipped_labels(federation, cell.attackers)
    folder = work / "runs" / "-".join(cell.key).replace(" ", "_")
    shutil.rmtree(folder, ignore_errors=True)
    how = DEFENCES[cell.defence]
    options = RunOptions(
        federation=federation,
        bundles=bundles_in(work / "bundles"),
        seed=cell.seed,
        rounds=ROUNDS,
        sites=3 if cell.attack in (ALONE, WITHOUT_BOTH) else cell.sites,
        changes={**SET, "robust": how["robust"]},
        watch=how["watch"] if cell.seed in FRESH else "off",
    )
    experiment = create_run(folder, recipe=RECIPES["mdhfl_plus"], options=options)
    results, sites = Results(folder, experiment=experiment), open_sites(folder, names=experiment.sites)
    attack = ATTACKS.get("permuted" if cell.attack == COLLUDING else cell.attack)
    attackers = dict.fromkeys(cell.attackers, attack) if attack is not None else {}
    results.resume()
    try:
        ask = poisoned(ask_in_process(sites), attackers=attackers, seed=cell.seed)
        sent: list[Round] = []

        def record(finished: Round) -> None:
            results.record(finished)
            sent.append(finished)

        federate(experiment, ask=ask, record=record, decide=results.decisions)
        if cell.attack == HONEST and cell.defence == "mean" and cell.seed in FRESH:
            keep_messages(work / "messages" / f"{cell.split}-{cell.seed}.npz", sent)
        rows = results.rows()
    finally:
        results.close()
        for site in sites.values():
            site.close()
    counted = replace(
        experiment,
        sites=cell.honest,
        training_images={site: experiment.training_images[site] for site in cell.honest},
        min_sites=1,
    )
    scores = score_on_all(folder, experiment=counted, cache=ImageCache(work / "images"))
    shutil.rmtree(folder)
    return {**dict(zip(FIELDS, cell.key, strict=False)), **_watched(rows, cell), "macro_f1": _mean_of(scores)}


def _mean_of(scores: Mapping[str, Mapping[str, float]]) -> float:
    return round(100 * mean(found["macro_f1"] for found in scores.values()), 3)


def _watched(rows: Sequence[Mapping[str, Any]], cell: Cell) -> dict[str, Any]:
    """Return when the watch named every attacker, and how often it named an honest site; nothing where it is off."""
    if not any("watch" in row for row in rows):
        return dict.fromkeys(("named_in", "false_alarms", "looked_at"), "")
    stood = {(row["site"], row["round"]): _stands_out(row) for row in rows if "watch" in row}
    first = [
        min((n for (site, n), out in stood.items() if out and site == who), default=None) for who in cell.attackers
    ]
    honest = [out for (site, _), out in stood.items() if site not in cell.attackers]
    if cell.attack == "copy":  # nobody can tell which of the two is the copy: the original is named with it
        honest = [out for (site, _), out in stood.items() if site in cell.honest[1:]]
    named = "" if not first else "never" if None in first else max(number for number in first if number is not None)
    return {"named_in": named, "false_alarms": sum(honest), "looked_at": len(honest)}


def _stands_out(row: Mapping[str, Any]) -> bool:
    return bool(row["watch"]["reasons"] or row["watch"]["copies"])


def measured() -> list[dict[str, str]]:
    """Return the rows that there are."""
    return read_csv(MEASURED) if MEASURED.is_file() else []


def _key(row: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(row[name] for name in FIELDS[:4])


def page() -> str:
    """Return what docs/results.md should say."""
    text = replaced(PAGE.read_text(encoding="utf-8"), "poison", attack_table(measured(), seeds=FRESH, defences=WATCHES))
    text = replaced(text, "robust teachers", attack_table(measured(), seeds=SEEDS, defences=TEACHERS))
    text = replaced(text, "false alarms", alarm_table(measured()))
    return replaced(text, "one lesson", replay_table())


def attack_table(rows: Sequence[Mapping[str, str]], *, seeds: Sequence[int], defences: Sequence[str]) -> str:
    """Return what an attack brings the honest sites against the run without who attacks, by defence; and when named.

    A cell: macro-F1 less that of the run without, mean over the seeds; in brackets the smallest and the largest.
    """
    found = {(row["attack"], row["defence"], int(row["seed"])): row for row in rows if row["split"] == "0.5"}
    watched = defences == WATCHES
    lines = [["the last site sends", *defences, *(["named in round"] if watched else [])]]
    for attack in (HONEST, *ATTACKED, COLLUDING):
        without = WITHOUT_BOTH if attack == COLLUDING else ALONE
        cells = []
        for defence in defences:
            pairs = [(found.get((attack, defence, seed)), found.get((without, "mean", seed))) for seed in seeds]
            less = [float(one["macro_f1"]) - float(other["macro_f1"]) for one, other in pairs if one and other]
            cells.append(f"{mean(less):+.1f} ({min(less):+.1f} to {max(less):+.1f})" if less else "-")
        named = [found[key]["named_in"] for seed in seeds if (key := (attack, "put aside", seed)) in found]
        lines.append([attack, *cells, *([", ".join(filter(None, named)) or "-"] if watched else [])])
    return table(lines)


def alarm_table(rows: Sequence[Mapping[str, str]]) -> str:
    """Return how often an honest site was named, by federation, in honest runs and beside an attacker."""
    head = ["federation", "rounds of sites looked at", "false alarms", "share"]
    lines = []
    for split in SPLITS:
        tested = [row for row in rows if row["split"] == split and row["looked_at"]]
        honest = [row for row in tested if row["attack"] in (HONEST, ALONE, WITHOUT_BOTH)]
        attacked = [row for row in tested if row["attack"] not in (HONEST, ALONE, WITHOUT_BOTH)]
        acted = [row for row in attacked if row["defence"] == "put aside"]
        others = [row for row in attacked if row["defence"] != "put aside"]
        for title, found in (
            ("all honest", honest),
            ("honest sites beside an attacker who is put aside", acted),
            ("honest sites beside an attacker who goes on", others),
        ):
            seen, alarms = (sum(int(row[name]) for row in found) for name in ("looked_at", "false_alarms"))
            if seen:
                name = "IID" if split == "IID" else f"Dirichlet {split}"
                lines.append([f"{name}, {title}", str(seen), str(alarms), f"{alarms / seen:.1%}"])
    return table([head, *lines])


if __name__ == "__main__":
    main()
