"""`mdhfl run`: one recipe on one federation, in FLARE's simulator or in process."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from mdhfl.files import read_json
from mdhfl.rounds.experiment import Experiment
from mdhfl.runs.folder import (
    BUILT_IN_BUNDLES,
    RunOptions,
    create_run,
    read_federation,
    resume_run,
)
from mdhfl.runs.recipe import parse_changes, recipe_of
from mdhfl.sharing.messages import Answer, Request

HELP = """Run a recipe on a federation and print the scores on the clean test images.

\b
Examples:
  mdhfl run mdhfl --federation fed/ --out runs/a
  mdhfl run mdhfl --federation fed/ --engine inprocess --rounds 8 --set local_epochs=1 --seed 0 --out runs/b
  mdhfl run local --federation fed/ --bundles shufflenet_v2,my_bundles/vit --out runs/c
  mdhfl run mdhfl --federation fed/ --out runs/a --resume        # continue after an interruption
  mdhfl run mdhfl --help                                         # what --set changes

RECIPE is one of those below, or a method of your own as package.module:Class.
"""


class RunCommand(click.Command):
    """Its help lists the recipes, or the hyper-parameters of the one that stands before `--help`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta["asked"] = next((word for word in args if not word.startswith("-")), None)
        return super().parse_args(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from mdhfl.commands.methods import ELSEWHERE, parameter_lines
        from mdhfl.jobs import RECIPES

        super().format_options(ctx, formatter)
        recipe = RECIPES.get(ctx.meta.get("asked") or "")
        if recipe is None:
            with formatter.section("Recipes"):
                formatter.write_dl([(each.name, each.summary) for each in RECIPES.values()])
            return
        with formatter.section(f"Hyper-parameters of {recipe.name} (--set NAME=VALUE)"):
            formatter.write_dl(parameter_lines(recipe))
        formatter.write_paragraph()
        formatter.write_text(ELSEWHERE)


@click.command(name="run", cls=RunCommand, help=HELP, short_help="Train a federation with one method.")
@click.argument("recipe_name", metavar="RECIPE")
@click.option("--federation", type=click.Path(path_type=Path), required=True, help="Folder from `mdhfl prepare`.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for the results.")
@click.option(
    "--engine",
    type=click.Choice(["flare", "inprocess"]),
    default="flare",
    show_default=True,
    help="FLARE's simulator (one process per site), or one process for all sites. Equal results.",
)
@click.option("--rounds", type=click.IntRange(min=1), help="Rounds after the warm-up; the recipe's if not given.")
@click.option("--set", "pairs", multiple=True, metavar="NAME=VALUE", help="Change a hyper-parameter; repeatable.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Random seed.")
@click.option(
    "--bundles",
    default=",".join(BUILT_IN_BUNDLES),
    show_default=True,
    help="Assigned to sites in order, repeating: built-in names, or paths of your own (a bundle is code: trust it).",
)
@click.option("--min-sites", type=click.IntRange(min=1), help="Minimum valid replies per round.  [default: 2]")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads per site.  [default: fit to the machine]")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda or cuda:N.")
@click.option("--resume", is_flag=True, help="Continue the run in --out at the first round that is not recorded.")
def run_command(recipe_name: str, *, out: Path, engine: str, rounds: int | None, resume: bool, **chosen: Any) -> None:
    """See HELP."""
    if resume:
        trusted = (recipe_name.partition(":")[0],)
        experiment = resume_run(out, rounds=rounds, trusted=trusted)
        engine = str(read_json(out / "experiment.json")["engine"])
    else:
        changes = parse_changes(chosen.pop("pairs"))
        bundles = tuple(name.strip() for name in chosen.pop("bundles").split(",") if name.strip())
        threads = chosen.pop("threads") or _default_threads(engine, chosen["federation"])
        options = RunOptions(
            engine=engine,
            rounds=rounds,
            changes=changes,
            bundles=bundles,
            threads=threads,
            command=" ".join(["mdhfl", *sys.argv[1:]]),
            **chosen,
        )
        experiment = _create(out, recipe_name=recipe_name, options=options)
    console = Console(stderr=True)
    (out / "summary.json").unlink(missing_ok=True)  # that of the shorter run that is being continued
    try:
        with _progress(experiment, console) as on_answer:
            if engine == "inprocess":
                from mdhfl.runs.inprocess import run_in_process

                run_in_process(out, experiment=experiment, on_answer=on_answer)
            else:
                _run_in_flare(out, on_answer)
    except KeyboardInterrupt:
        raise click.ClickException(
            f"interrupted; every finished round is kept. Continue with: mdhfl run {recipe_name} "
            f"--federation {chosen['federation']} --out {out} --resume"
        ) from None
    _print_scores(out)


def _create(out: Path, *, recipe_name: str, options: RunOptions) -> Experiment:
    from mdhfl.flare.simulator import check_simulator_can_take
    from mdhfl.jobs import RECIPES

    recipe = recipe_of(recipe_name, recipes=RECIPES)
    if options.engine == "flare":
        check_simulator_can_take(out, sites=len(read_federation(options.federation)["sites"]))
    return create_run(out, recipe=recipe, options=options)


def _run_in_flare(out: Path, on_answer: Any) -> None:
    """Run the simulator in a process of its own, its output in `flare.log`, and pass on the progress it notes."""
    from mdhfl.flare.simulator import kill_simulator

    progress, log = out / "progress.jsonl", out / "flare.log"
    progress.unlink(missing_ok=True)
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "mdhfl.flare.simulator", str(out)],
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is ours to handle
        )
        try:
            seen = 0
            while process.poll() is None:
                seen = _pass_on(progress, seen, on_answer)
                time.sleep(0.2)
            _pass_on(progress, seen, on_answer)
        finally:
            kill_simulator(process.pid)
    if not (out / "summary.json").exists():
        raise click.ClickException(f"FLARE's simulator ended without a result; {_last_error(log)}. See {log}")


def _pass_on(progress: Path, seen: int, on_answer: Any) -> int:
    text = progress.read_text(encoding="utf-8") if progress.exists() else ""
    lines = text.split("\n")[:-1]  # what follows the last line feed is still being written
    for line in lines[seen:]:
        on_answer(**json.loads(line))
    return len(lines)


def _last_error(log: Path) -> str:
    errors = [line for line in log.read_text(errors="replace").splitlines() if "ERROR" in line]
    return f"its last error: {errors[-1][-300:]}" if errors else "its log names no error"


@contextmanager
def _progress(experiment: Experiment, console: Console) -> Iterator[Any]:
    """Show one bar over all answers, with what came last beside it."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=False) as bar:
        task = bar.add_task("starting the sites", total=(experiment.rounds + 1) * len(experiment.sites))

        def on_answer(request: Request | None = None, answer: Answer | None = None, **line: Any) -> None:
            if request is not None and answer is not None:
                line = {"action": request.action, "round": answer.round, "site": answer.site, "refusal": answer.refusal}
            if line["refusal"]:
                bar.console.print(f"[yellow]{line['refusal']}[/yellow]", highlight=False)
            if line["action"] != "finish":
                done = (line["round"]) * len(experiment.sites)
                completed = max(bar.tasks[0].completed + 1, done)
                bar.update(
                    task,
                    completed=completed,
                    description=f"round {line['round']}/{experiment.rounds}, {line['site']} answered",
                )

        yield on_answer


def _print_scores(out: Path) -> None:
    from mdhfl.reports.terminal import print_scores

    print_scores([json.loads((out / "summary.json").read_text(encoding="utf-8"))])
    click.echo(f"results: {out}    next: mdhfl report {out} --out report/")


def _default_threads(engine: str, federation: Path) -> int:
    import os

    cores = os.cpu_count() or 1
    return cores if engine == "inprocess" else max(1, cores // max(1, len(read_federation(federation)["sites"])))
