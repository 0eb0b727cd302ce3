"""What a server that sees sums of new groups in each round can work out about one site.

`python -m experiments.group_sums_read --work <folder>` takes the messages that `group_sums.py` has kept there, and
writes `experiments/group_sums_read.csv` and the table in docs/results.md; `--tables` writes it alone. The attack is
linear: the server takes the sites' answers for the same in all rounds after the warm-up, and solves for them.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np

from experiments.attacks import Values
from experiments.document import ROOT, replaced, table
from experiments.false_alarms import named
from experiments.group_sums import SEED, SPLITS, TAKEN, grouped, groups_of, said_in
from experiments.poison import PAGE
from experiments.poison_replay import Messages, append, read_messages
from mdhfl.sharing.robust import probabilities
from mdhfl.showing.sheets import read_csv

READ = ROOT / "experiments" / "group_sums_read.csv"
FIELDS = ("split", "seed", "sites", "size", "sums", "solved", "at_rest", "own_group", "all")
SIZES = (2, 3)
RIDGES = (1e-6, 1e-4, 0.01, 0.1, 0.3, 1.0, 3.0, 10.0)  # the best of them counts, as if the server knew which it is
RESTED = 8  # rounds in which the answers stay as they are (`cooling_from`, docs/method.md), and the groups do not
SMALLEST = 1e-6  # of what was worked out: nothing is negative
Rounds = Sequence[tuple[int, Values, Values]]  # number, (P, N, C) answers, (P, C) competences


@click.command()
@click.option("--work", type=click.Path(path_type=Path), help="Folder of `experiments.group_sums`.")
@click.option("--tables", is_flag=True, help="Write the table and measure nothing.")
def main(*, work: Path | None, tables: bool) -> None:
    """Solve, and write the table."""
    if not tables:
        if work is None:
            raise click.UsageError("give --work, or --tables")
        rows = []
        for split in SPLITS:
            messages = read_messages(work / f"{split}-{SEED}.npz")
            rows += [{"split": split, "seed": SEED, **row} for row in readable(messages)]
        READ.unlink(missing_ok=True)
        append(READ, FIELDS, rows)
    PAGE.write_text(page(), encoding="utf-8")


def readable(messages: Messages) -> Iterator[dict[str, Any]]:
    """Yield how far guesses at a site's last answers are from them: solved, its group's sum, the sum of all."""
    for sites in TAKEN:
        for size in SIZES:
            rounds = [(number, *said_in(messages, number, sites=sites)) for number in sorted(set(messages) - {0})]
            number, said, told = rounds[-1]
            rest = [(later, said, told) for later in range(RESTED)]
            own, groups = np.zeros(said.shape), groups_of(sites, size, seed=[number, 0])
            for group, mean in zip(groups, grouped((said, told), groups)[0], strict=True):
                own[group] = mean
            everybody = grouped((said, told), [np.arange(sites)])[0]
            yield {
                "sites": sites,
                "size": size,
                "sums": len(rounds) * (sites // size),
                "solved": min(apart(solved(rounds, size=size, ridge=ridge), said) for ridge in RIDGES),
                "at_rest": min(apart(solved(rest, size=size, ridge=ridge), said) for ridge in RIDGES),
                "own_group": apart(own, said),
                "all": apart(np.broadcast_to(everybody, said.shape), said),
            }


def solved(rounds: Rounds, *, size: int, ridge: float) -> Values:
    """Return (P, N, C) answers that fit the sums of all rounds, drawn towards the mean of all sites' last answers.

    Args:
        rounds: what was said; the server sees its sums over groups.
        size: of a group.
        ridge: how strongly the answers are drawn, above 0 (Hoerl, Kennard, Technometrics 1970).
    """
    number, last, vouched = rounds[-1]
    prior = np.concatenate([(last * vouched[:, None]).mean(axis=0), vouched.mean(axis=0)[None]])
    seen, unexplained = [], []
    for number, values, told in rounds:
        parts = np.concatenate([values * told[:, None], told[:, None]], axis=1)  # a sum's last row: competences
        for group in groups_of(len(values), size, seed=[number, 0]):
            seen.append(np.isin(np.arange(len(values)), group).astype(np.float64))
            unexplained.append((parts[group].sum(axis=0) - len(group) * prior).ravel())
    who = np.stack(seen)
    weights = np.linalg.solve(who @ who.T + ridge * np.eye(len(who)), np.stack(unexplained))
    parts = np.maximum(prior + (who.T @ weights).reshape(len(last), *prior.shape), SMALLEST)
    found: Values = parts[:, :-1] / parts[:, -1:]
    return found


def apart(guessed: Values, said: Values) -> float:
    """Return how far answers, brought to rows of sum 1, are from what was said: half the sum of differences, in %."""
    rows = np.stack([probabilities(each) for each in guessed])
    return round(100 * float(np.abs(rows - said).sum(axis=2).mean() / 2), 2)


def page() -> str:
    """Return what docs/results.md should say."""
    return replaced(PAGE.read_text(encoding="utf-8"), "group sums read", read_table(read_csv(READ)))


def read_table(rows: Sequence[Mapping[str, str]]) -> str:
    """Return how far the server's guesses at a site's answers are from them."""
    head = [
        "federation",
        "sites in a group",
        "mean of all",
        "its group's mean",
        "solved",
        f"solved, {RESTED} rounds' rest",
    ]
    names = ("all", "own_group", "solved", "at_rest")
    lines = [
        [f"{named(row['split'])}, {row['sites']} sites", row["size"], *(f"{float(row[n]):.1f}" for n in names)]
        for row in rows
    ]
    return table([head, *lines])


if __name__ == "__main__":
    main()
