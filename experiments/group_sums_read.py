"""What a server that sees sums of new groups in each round can work out about one site.

`python -m experiments.group_sums_read --work <folder>` takes the messages that `group_sums.py` has kept there, and
writes `experiments/group_sums_read.csv` and the table in docs/results.md; `--tables` writes it alone. The attack is
linear: the server takes the sites' answers for the same in all rounds, and solves for them by least squares.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np

from experiments.attacks import Values
from experiments.document import ROOT, replaced, table
from experiments.false_alarms import named
from experiments.group_sums import PAGE, SEED, SPLITS, TAKEN, grouped, groups_of, said_in
from experiments.poison_replay import Messages, append, read_messages
from mdhfl.sharing.robust import probabilities
from mdhfl.showing.sheets import read_csv

READ = ROOT / "experiments" / "group_sums_read.csv"
FIELDS = ("split", "seed", "sites", "size", "sums", "solved", "own_group", "all")
SIZES = (2, 3)
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
            rounds = [(number, *said_in(messages, number, sites=sites)) for number in sorted(messages)]
            number, said, told = rounds[-1]
            own, groups = np.zeros(said.shape), groups_of(sites, size, seed=[number, 0])
            for group, mean in zip(groups, grouped((said, told), groups)[0], strict=True):
                own[group] = mean
            everybody = grouped((said, told), [np.arange(sites)])[0]
            yield {
                "sites": sites,
                "size": size,
                "sums": len(rounds) * (sites // size),
                "solved": apart(solved(rounds, size=size), said),
                "own_group": apart(own, said),
                "all": apart(np.broadcast_to(everybody, said.shape), said),
            }


def solved(rounds: Rounds, *, size: int) -> Values:
    """Return (P, N, C) answers as they fit the sums of all rounds best, and the sums of the competences."""
    seen, sums, vouched = [], [], []
    for number, values, told in rounds:
        for group in groups_of(len(values), size, seed=[number, 0]):
            seen.append(np.isin(np.arange(len(values)), group).astype(np.float64))
            sums.append((values[group] * told[group][:, None]).sum(axis=0).ravel())
            vouched.append(told[group].sum(axis=0))
    parts = np.linalg.lstsq(np.stack(seen), np.stack(sums), rcond=None)[0].reshape(rounds[-1][1].shape)
    competences = np.linalg.lstsq(np.stack(seen), np.stack(vouched), rcond=None)[0]
    found: Values = np.maximum(parts, SMALLEST) / np.maximum(competences, SMALLEST)[:, None]
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
    head = ["federation", "sites in a group", "sums seen", "solved", "its group's mean", "mean of all"]
    names = ("size", "sums", "solved", "own_group", "all")
    lines = [[f"{named(row['split'])}, {row['sites']} sites", *(row[name] for name in names)] for row in rows]
    return table([head, *lines])


if __name__ == "__main__":
    main()
