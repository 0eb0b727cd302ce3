"""Does MDH-FL help against wrong labels? `python -m experiments.label_noise --data ../shared/data --work work/`

Private: Acevedo_20 in the 13-class space over 4 sites with 4 architectures. Public: Matek_19 tiles, unlabelled. Test
labels are clean. Runs what is missing in `--work`, two runs at a time, and writes the table into docs/results.md.
"""

import itertools
import json
import os
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

from mdhfl.inprocess import run_in_process
from mdhfl.jobs import PLANS
from mdhfl.plan import Plan
from mdhfl.preprocessing.arguments import PrepareArguments
from mdhfl.preprocessing.prepare import prepare
from mdhfl.run_folder import BUILT_IN_BUNDLES, Choices, create_run, resume_run

ROUNDS, PER_SITE, IMAGE_SIZE, ALPHA = 8, 800, 32, 0.5
NOISES = (("none", 0.0), ("symmetric", 0.2), ("pairflip", 0.3))
METRICS = ("accuracy", "macro_f1", "balanced_accuracy")
TITLES = {
    "local": "local CE",
    "local_sce": "local SCE",
    "mdhfl": "MDH-FL (paper's weights)",
    "mdhfl_ce1": "MDH-FL, CE weight 1.0",
}
CHANGES: dict[str, dict[str, Any]] = {"mdhfl_ce1": {"ce_weight": 1.0}}


@dataclass(frozen=True)
class Cell:
    """One run: a split, a noise, a plan, a seed."""

    split: str
    noise: str
    rate: float
    plan: str
    seed: int

    @property
    def federation(self) -> str:
        """Name of the federation that the run needs."""
        return f"{self.split}-{self.noise}{self.rate}-seed{self.seed}"

    @property
    def name(self) -> str:
        """Name of the run's folder."""
        return f"{self.federation}-{self.plan}"


def cells(splits: Sequence[str], seeds: int) -> Iterator[Cell]:
    """Every run of the experiment: the published methods first, seed by seed, so that an early stop leaves a table."""
    published = [plan for plan in TITLES if plan not in CHANGES]
    for split, plans in itertools.product(splits, (published, list(CHANGES))):
        for seed, (noise, rate), plan in itertools.product(range(seeds), NOISES, plans):
            yield Cell(split, noise, rate, plan, seed)


def prepare_federation(cell: Cell, *, data: Path, work: Path) -> Path:
    """Prepare the federation that a run needs, unless it is there."""
    arguments = PrepareArguments(
        source="acevedo20",
        raw=data / "acevedo20_64px.zip",
        label_space="cytomorphology13",
        public="matek19",
        public_raw=data / "matek19_tiles_108px.zip",
        sites=4,
        split=cell.split,
        alpha=ALPHA,
        per_site=PER_SITE,
        noise=cell.noise,
        noise_rate=(cell.rate,) if cell.rate else (),
        image_size=IMAGE_SIZE,
        seed=cell.seed,
        out=work / "federations" / cell.federation,
    )
    prepare(arguments, workers=2)
    return arguments.out


def run_cell(cell: Cell, work: Path) -> dict[str, Any]:
    """Run one cell, or what is left of it, and return its summary."""
    folder = work / "runs" / cell.name
    done = folder / "summary.json"
    if done.exists():
        return dict(json.loads(done.read_text(encoding="utf-8")))
    if (folder / "experiment.json").exists():
        return run_in_process(folder, experiment=resume_run(folder, rounds=None))
    plan: Plan = PLANS[cell.plan.removesuffix("_ce1")]
    choices = Choices(
        federation=work / "federations" / cell.federation,
        engine="inprocess",
        bundles=BUILT_IN_BUNDLES,
        seed=cell.seed,
        rounds=ROUNDS,
        changes=CHANGES.get(cell.plan, {}),
        min_sites=None,
        device="cpu",
        threads=1,
        command="python -m experiments.label_noise",
    )
    return run_in_process(folder, experiment=create_run(folder, plan=plan, choices=choices))


def markdown(summaries: dict[Cell, dict[str, Any]], *, split: str) -> str:
    """Return the table of one split, in percent: mean over sites, then mean and standard deviation over seeds."""
    lines = ["| noise | method | " + " | ".join(METRICS) + " | seeds |", "|---|---|" + "---:|" * (len(METRICS) + 1)]
    for (noise, rate), plan in itertools.product(NOISES, TITLES):
        wanted = (split, noise, rate, plan)
        found = [s["mean"] for c, s in summaries.items() if (c.split, c.noise, c.rate, c.plan) == wanted]
        if found:
            shown = [_mean_and_spread([100 * mean[metric] for mean in found]) for metric in METRICS]
            label = noise if noise == "none" else f"{noise} {rate}"
            lines.append(f"| {label} | {TITLES[plan]} | " + " | ".join(shown) + f" | {len(found)} |")
    return "\n".join(lines)


def readme_table(summaries: dict[Cell, dict[str, Any]]) -> str:
    """Return macro-F1 alone, a column for each split and noise, the best of each in bold."""
    columns = [(split, noise, rate) for split in ("dirichlet", "iid") for noise, rate in NOISES]
    heads = [f"{split}, {noise if not rate else f'{noise} {rate}'}" for split, noise, rate in columns]
    lines = ["| macro-F1, % | " + " | ".join(heads) + " |", "|---|" + "---:|" * len(columns)]
    found = {
        (plan, column): [
            100 * s["mean"]["macro_f1"]
            for c, s in summaries.items()
            if (c.split, c.noise, c.rate, c.plan) == (*column, plan)
        ]
        for plan, column in itertools.product(TITLES, columns)
    }
    for plan, title in TITLES.items():
        cells = []
        for column in columns:
            values = found[plan, column]
            best = max((np.mean(found[p, column]) for p in TITLES if found[p, column]), default=0.0)
            text = _mean_and_spread(values) if values else "not run"
            cells.append(f"**{text}**" if values and np.mean(values) == best else text)
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _mean_and_spread(values: Sequence[float]) -> str:
    spread = f" ± {np.std(values, ddof=1):.1f}" if len(values) > 1 else ""
    return f"{np.mean(values):.1f}{spread}"


def write_table(path: Path, name: str, table: str) -> None:
    """Replace what stands between `<!-- name -->` and `<!-- /name -->` in a document."""
    text = path.read_text(encoding="utf-8")
    pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    if not pattern.search(text):
        raise ValueError(f"{path}: expected the marks <!-- {name} --> and <!-- /{name} -->")
    path.write_text(pattern.sub(lambda m: m[1] + table + "\n" + m[2], text), encoding="utf-8")


@click.command()
@click.option("--data", type=click.Path(path_type=Path, exists=True), default=Path("../shared/data"), show_default=True)
@click.option("--work", type=click.Path(path_type=Path), default=Path("runs/label_noise"), show_default=True)
@click.option("--seeds", default=2, show_default=True)
@click.option("--splits", default="dirichlet,iid", show_default=True, help="dirichlet, iid or both.")
@click.option("--workers", default=2, show_default=True, help="Runs at a time, one thread each.")
@click.option("--table-only", is_flag=True, help="Write the table of the runs that are there.")
def main(data: Path, work: Path, seeds: int, splits: str, workers: int, table_only: bool) -> None:
    """Run what is missing and write the tables."""
    wanted = list(cells(splits.split(","), seeds))
    root = Path(__file__).resolve().parents[1]
    summaries: dict[Cell, dict[str, Any]] = {}
    if table_only:
        wanted = [cell for cell in wanted if (work / "runs" / cell.name / "summary.json").exists()]
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with ProcessPoolExecutor(max_workers=workers) as pool:
        for cell in {c.federation: c for c in wanted}.values():
            prepare_federation(cell, data=data, work=work)
        running = {pool.submit(run_cell, cell, work): cell for cell in wanted}
        for number, future in enumerate(as_completed(running), 1):
            cell = running[future]
            summaries[cell] = future.result()
            shown = " ".join(f"{m}={100 * summaries[cell]['mean'][m]:.1f}" for m in METRICS)
            click.echo(f"[{number}/{len(wanted)}] {cell.name}: {shown}")
    write_table(root / "README.md", "results", readme_table(summaries))
    for split in {cell.split for cell in summaries}:
        write_table(root / "docs" / "results.md", f"label_noise_{split}", markdown(summaries, split=split))


if __name__ == "__main__":
    main()
