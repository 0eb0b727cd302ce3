"""Which runs belong together, and how a method that shares compares with training alone. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mdhfl.methods import METHODS
from mdhfl.reports.labels import identity_of, labels_of
from mdhfl.reports.runs import Run, mean_of, number_or_none, spread_of

MEAN = "mean over sites"
CHANCE = 6  # points of one seed: by as much do seeds differ (docs/results.md, standard deviations on own images)
NOT_PAIRED = "not paired: no seed in common"


@dataclass(frozen=True, kw_only=True)
class Group:
    """Runs that differ in nothing but their seed.

    Attributes:
        label: the method, and what sets it apart from the others.
        federation: the folder that it ran on.
        method: name of the method.
        runs: one run per seed, ordered by seed.
        repeated: seeds that occurred more than once; only one run of each is counted.
    """

    label: str
    federation: str
    method: str
    runs: tuple[Run, ...]
    repeated: tuple[int, ...]

    @property
    def seeds(self) -> tuple[int, ...]:
        return tuple(run.seed for run in self.runs)

    def scores(self, site: str, *, score: str) -> dict[int, float]:
        """Return seed -> score of a site, or of the mean over sites for `MEAN`."""
        found = {run.seed: number_or_none(_scores_of(run, site).get(score)) for run in self.runs}
        return {seed: value for seed, value in found.items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A method that shares against the strongest training alone, on one federation.

    Attributes:
        federation: the folder.
        sharing: the group that shares.
        alone: the group that does not.
        sites: names of the sites, then `MEAN`.
    """

    federation: str
    sharing: Group
    alone: Group
    sites: tuple[str, ...]

    def alone_of(self, run: Run) -> Run | None:
        """Return the run of the same seed whose sites train alone, None if there is none."""
        return next((alone for alone in self.alone.runs if alone.seed == run.seed), None)

    @property
    def verdict(self) -> str:
        """Who is ahead, by how much, and how sure that is."""
        row = self.rows("macro_f1")[-1]
        if row["difference"] is None:
            return f"{self.sharing.label}: no scores to compare with {self.alone.label}."
        points, seeds = 100 * row["difference"], row["common_seeds"]
        side = "ahead of" if points > 0 else "behind"
        place = f"{abs(points):.1f} points of macro-F1 {side}" if points else "level with"
        spread = f", standard deviation {100 * row['difference_sd']:.1f}" if row["difference_sd"] is not None else ""
        over = f"{seeds} seed{'s' if seeds > 1 else ''}{spread}" if seeds else NOT_PAIRED
        return (
            f"{self.sharing.label}: {place} the strongest training alone ({self.alone.label}), mean over the sites' "
            f"own clean test images, {over}."
        )

    @property
    def in_short(self) -> str:
        """What sharing brings, in one short sentence; empty without scores to tell it from.

        It is the paired difference of `verdict`, from the means over common seeds, in whole points that add up.
        """
        ours, theirs = self._scores_in_short()
        if not ours or not theirs:
            return ""
        sharing, alone = (round(100 * sum(scores.values()) / len(scores)) for scores in (ours, theirs))
        points = sharing - alone
        brings = f"gain {points}" if points > 0 else f"lose {-points}" if points else "gain 0"
        unit = "point" if abs(points) == 1 else "points"
        common = len(set(ours) & set(theirs))
        paired = "" if common else f"; {NOT_PAIRED}"
        chance = "; may be chance" if common < 2 and abs(points) < CHANCE else ""
        return f"{self.sharing.label} {sharing} %, alone {alone} %: sites {brings} {unit} (macro-F1{paired}{chance})"

    def _scores_in_short(self) -> tuple[dict[int, float], dict[int, float]]:
        """Return both groups' macro-F1, mean over sites, of the seeds that both have; where none is, of all of each."""
        ours, theirs = (group.scores(MEAN, score="macro_f1") for group in (self.sharing, self.alone))
        common = sorted(set(ours) & set(theirs))
        if not common:
            return ours, theirs
        return {seed: ours[seed] for seed in common}, {seed: theirs[seed] for seed in common}

    def rows(self, score: str) -> list[dict[str, Any]]:
        """Return per site: mean and sd of both groups over seeds, and the difference in the mean.

        The difference and its sd are taken over the seeds that both groups have. With fewer than two the sd is None;
        with none the difference is that of the means.
        """
        rows = []
        for site in self.sites:
            ours, theirs = self.sharing.scores(site, score=score), self.alone.scores(site, score=score)
            paired = [ours[seed] - theirs[seed] for seed in sorted(set(ours) & set(theirs))]
            sharing, alone = mean_of(list(ours.values())), mean_of(list(theirs.values()))
            unpaired = sharing - alone if sharing is not None and alone is not None else None
            rows.append(
                {
                    "site": site,
                    "sharing": sharing,
                    "sharing_sd": spread_of(list(ours.values())),
                    "alone": alone,
                    "alone_sd": spread_of(list(theirs.values())),
                    "difference": mean_of(paired) if paired else unpaired,
                    "difference_sd": spread_of(paired),
                    "common_seeds": len(paired),
                }
            )
        return rows


def group_runs(runs: Sequence[Run]) -> list[Group]:
    """Group runs by everything but the seed, in the order in which they were given."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(identity_of(run), []).append(run)
    labels = labels_of([found[0] for found in groups.values()])
    return [_group(label, found) for label, found in zip(labels, groups.values(), strict=True)]


def compare(groups: Sequence[Group]) -> list[Comparison]:
    """Compare every group that shares with the strongest group of the same federation that trains alone.

    The strongest has the highest macro-F1, mean over sites and seeds.
    """
    return [
        Comparison(federation=ours.federation, sharing=ours, alone=alone, sites=(*_sites((ours, alone)), MEAN))
        for ours in groups
        if not is_alone(ours.method)
        and _is_federated(ours.method)
        and (alone := _strongest_alone(groups, federation=ours.federation))
    ]


def is_alone(method: str) -> bool:
    """Return whether sites of this method train alone; one from elsewhere is taken to share."""
    return method in METHODS and METHODS[method].shares is None and METHODS[method].is_federated


def _is_federated(method: str) -> bool:
    return method not in METHODS or METHODS[method].is_federated


def _strongest_alone(groups: Sequence[Group], *, federation: str) -> Group | None:
    alone = [group for group in groups if is_alone(group.method) and group.federation == federation]
    return max(alone, key=_mean_macro_f1, default=None)


def _mean_macro_f1(group: Group) -> float:
    return mean_of(list(group.scores(MEAN, score="macro_f1").values())) or 0.0


def _group(label: str, runs: Sequence[Run]) -> Group:
    by_seed = {run.seed: run for run in runs}
    seeds = [run.seed for run in runs]
    return Group(
        label=label,
        federation=runs[0].federation,
        method=runs[0].method,
        runs=tuple(by_seed[seed] for seed in sorted(by_seed)),
        repeated=tuple(sorted({seed for seed in seeds if seeds.count(seed) > 1})),
    )


def _sites(groups: Sequence[Group]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(site for group in groups for run in group.runs for site in run.sites))


def _scores_of(run: Run, site: str) -> Mapping[str, Any]:
    found = run.summary["mean"] if site == MEAN else run.summary["sites"].get(site, {})
    return found or {}
