"""Between blind sums and robust rules: what if the server saw the sums of small groups, new ones in each round?

`python -m experiments.group_sums --data ../shared/data --work <folder>` runs honest federations of 20 sites once, keeps
their messages, replays them with attacks put in, and writes `experiments/group_sums.csv` and the table in
docs/results.md; `--tables` writes it alone. Only sums are simulated, no protocol. The setting is that of `poison.py`.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from statistics import mean
from typing import Any

import click
import numpy as np

from experiments.attacks import ATTACKS, Values
from experiments.document import ROOT, replaced, table
from experiments.false_alarms import named
from experiments.poison import PAGE, SET
from experiments.poison_replay import NONE, Messages, append, keep_messages, read_messages
from experiments.small_federations import bundles_in, small_federation
from mdhfl.jobs import RECIPES
from mdhfl.methods.mdhfl_plus import MdhflPlus
from mdhfl.runs.folder import RunOptions, create_run
from mdhfl.runs.inprocess import run_in_process
from mdhfl.sharing.competence import assumed_competence, class_weights
from mdhfl.sharing.exchange import Round
from mdhfl.sharing.robust import probabilities, robust_mean
from mdhfl.showing.sheets import read_csv

MOVED = ROOT / "experiments" / "group_sums.csv"
FIELDS = ("split", "seed", "sites", "poisoned", "attack", "rule", "moved")
SPLITS, SEED, SITES, ROUNDS = ("IID", "0.5"), 300, 20, 3
TAKEN, POISONED = (8, 12, 20), (1, 2)  # the first so many sites, and how many of them poison
TURNS, DRAWS = 4, 5  # other sites that poison; of groups, for each of them and each round
SENT = ("permuted", "sharp and permuted", "one class", "random rows")
RULES: Mapping[str, tuple[str, int]] = {  # title -> rule, sites in a group
    "mean": ("mean", 1), "median": ("median", 1), "trimmed": ("trimmed", 1),
    "median of 2s": ("median", 2), "trimmed of 2s": ("trimmed", 2),
    "median of 3s": ("median", 3), "trimmed of 3s": ("trimmed", 3),
}  # fmt: skip
Said = tuple[Values, Values]  # (P, N, C) answers, (P, C) competences


@click.command()
@click.option("--data", type=click.Path(path_type=Path), help="Folder with the real images.")
@click.option("--work", type=click.Path(path_type=Path), help="Folder for what is made on the way.")
@click.option("--tables", is_flag=True, help="Write the table and run nothing.")
def main(*, data: Path | None, work: Path | None, tables: bool) -> None:
    """Run and replay, and write the table."""
    if not tables:
        if data is None or work is None:
            raise click.UsageError("give --data and --work, or --tables")
        said = {split: messages_of(split, data=data, work=work) for split in SPLITS}
        MOVED.unlink(missing_ok=True)
        append(MOVED, FIELDS, [{"split": split, "seed": SEED, **row} for split in SPLITS for row in moved(said[split])])
    PAGE.write_text(page(), encoding="utf-8")


def messages_of(split: str, *, data: Path, work: Path) -> Messages:
    """Return what the sites of an honest run said, from its file if it was run before."""
    kept = work / f"{split}-{SEED}.npz"
    if not kept.exists():
        federation = small_federation(split, seed=SEED, sites=SITES, data=data, work=work)
        bundles = bundles_in(work / "bundles")
        options = RunOptions(federation=federation, bundles=bundles, seed=SEED, rounds=ROUNDS, changes=SET)
        shared: dict[int, dict[str, Any]] = {}
        run_in_process(
            work / f"run-{split}",
            experiment=create_run(work / f"run-{split}", recipe=RECIPES["mdhfl_plus"], options=options),
            on_answer=lambda q, a: shared.setdefault(a.round, {}).update({a.site: a.shared} if a.shared else {}),
        )
        keep_messages(kept, [Round(number=n, requests={}, answers={}, shared=said) for n, said in shared.items()])
    return read_messages(kept)


def said_in(messages: Messages, number: int, *, sites: int) -> Said:
    """Return what the first sites said in a round, and how far each vouches for each class."""
    names = sorted(messages[number], key=lambda name: int(name.rpartition("-")[2]))[:sites]
    heard = {name: messages[number][name] for name in names}
    assumed, classes = assumed_competence(heard), len(heard[names[0]].subject.classes)
    told = [class_weights(heard[n].competences, classes=classes, assumed=assumed, power=1.0) for n in names]
    return np.stack([heard[name].values.astype(np.float64) for name in names]), np.stack(told)


def moved(messages: Messages) -> Iterator[dict[str, Any]]:
    """Yield, for each attack and rule, how far the lesson is from the mean of the honest, in percent."""
    for sites in TAKEN:
        for poisoned, attack in ((0, NONE), *((count, attack) for count in POISONED for attack in SENT)):
            found: dict[str, list[float]] = {title: [] for title in RULES}
            for number, turn in product(sorted(set(messages) - {0}), range(TURNS)):
                said = said_in(messages, number, sites=sites)
                values, weights = (np.roll(part, turn * sites // TURNS, axis=0) for part in said)
                honest = lesson((values[: sites - poisoned], weights[: sites - poisoned]), "mean")
                for k in range(sites - poisoned, sites):
                    values[k] = ATTACKS[attack](values[k], number, {}, np.random.default_rng([number, turn, k]))
                for title, (rule, size) in RULES.items():
                    for draw in range(DRAWS if size > 1 else 1):
                        sums = grouped((values, weights), groups_of(sites, size, seed=[number, turn, draw]))
                        found[title].append(float(np.abs(lesson(sums, rule) - honest).sum(axis=1).mean() / 2))
            for title, distances in found.items():
                row = (sites, poisoned, attack, title, round(100 * mean(distances), 3))
                yield dict(zip(FIELDS[2:], row, strict=True))


def groups_of(sites: int, size: int, *, seed: Sequence[int]) -> list[Any]:
    """Return places of sites in random groups of at least a size, as many groups as there can be."""
    return np.array_split(np.random.default_rng(seed).permutation(sites), sites // size)


def grouped(said: Said, groups: Sequence[Any]) -> Said:
    """Return each group as one site: the mean of its answers by competence, and the sum of its competences."""
    values, weights = said
    sums = [np.einsum("pnc,pc->nc", values[g], weights[g]) / weights[g].sum(axis=0) for g in groups]
    return np.stack(sums), np.stack([weights[g].sum(axis=0) for g in groups])


def lesson(said: Said, rule: str) -> Values:
    """Return the teacher by a rule."""
    rows = robust_mean(said[0], weights=said[1], rule=rule, cut=MdhflPlus().cut)
    return probabilities(rows).astype(np.float64)


def page() -> str:
    """Return what docs/results.md should say."""
    return replaced(PAGE.read_text(encoding="utf-8"), "group sums", moved_table(read_csv(MOVED)))


def moved_table(rows: Sequence[Mapping[str, str]]) -> str:
    """Return federation and poisoned sites x rule: how far the lesson moves, the mean over attacks."""
    lines = []
    for split, sites, poisoned in product(SPLITS, TAKEN, (0, *POISONED)):
        asked = (split, str(sites), str(poisoned))
        own = [row for row in rows if (row["split"], row["sites"], row["poisoned"]) == asked]
        cells = [mean(float(row["moved"]) for row in own if row["rule"] == title) for title in RULES]
        lines.append([f"{named(split)}, {sites} sites, {poisoned} poisoned", *(f"{c:.1f}" for c in cells)])
    return table([["federation", *RULES], *lines])


if __name__ == "__main__":
    main()
