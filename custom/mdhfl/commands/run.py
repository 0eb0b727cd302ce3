"""`mdhfl run`: one plan on one federation, in FLARE's simulator or in process."""

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

from mdhfl.rounds.experiment import Experiment
from mdhfl.runs.folder import (
    BUILT_IN_BUNDLES,
    Choices,
    create_run,
    read_federation,
    read_run,
    resume_run,
)
from mdhfl.sharing.messages import Answer, Request

HELP = """Run a plan on a federation and print the scores on the clean test images.

\b
Plans: {plans}.

\b
Examples:
  mdhfl run mdhfl --federation fed/ --out runs/a
  mdhfl run mdhfl --federation fed/ --engine inprocess --rounds 8 --set local_epochs=1 --seed 0 --out runs/b
  mdhfl run local --federation fed/ --bundles shufflenet_v2,my_bundles/vit --out runs/c
  mdhfl run mdhfl --federation fed/ --out runs/a --resume        # continue after an interruption
"""


@click.command(name="run", short_help="Train a federation with one method.")
@click.argument("plan_name", metavar="PLAN")
@click.option("--federation", type=click.Path(path_type=Path), required=True, help="Folder from `mdhfl prepare`.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for the results.")
@click.option(
    "--engine",
    type=click.Choice(["flare", "inprocess"]),
    default="flare",
    show_default=True,
    help="FLARE's simulator (a process a site), or one process for all sites. Equal results.",
)
@click.option("--rounds", type=click.IntRange(min=1), help="Rounds after the warm-up; the plan's if not given.")
@click.option("--set", "pairs", multiple=True, metavar="NAME=VALUE", help="Change a hyper-parameter; repeatable.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of all random numbers.")
@click.option(
    "--bundles",
    default=",".join(BUILT_IN_BUNDLES),
    show_default=True,
    help="For the sites in turn: built-in names, or paths of your own bundles (a bundle is code: trust it).",
)
@click.option("--min-sites", type=click.IntRange(min=1), help="Usable answers that a round needs.  [default: 2]")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads of a site.  [default: fit to the machine]")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda or cuda:N.")
@click.option("--resume", is_flag=True, help="Continue the run in --out at the first round that is not recorded.")
def run_command(plan_name: str, *, out: Path, engine: str, rounds: int | None, resume: bool, **chosen: Any) -> None:
    """See HELP."""
    from mdhfl.runs.recipe import parse_changes

    if resume:
        experiment = resume_run(out, rounds=rounds)
        engine = read_run(out)[1]["engine"]
    else:
        changes = parse_changes(chosen.pop("pairs"))
        bundles = tuple(name.strip() for name in chosen.pop("bundles").split(",") if name.strip())
        threads = chosen.pop("threads") or _default_threads(engine, chosen["federation"])
        choices = Choices(
            engine=engine,
            rounds=rounds,
            changes=changes,
            bundles=bundles,
            threads=threads,
            command=" ".join(["mdhfl", *sys.argv[1:]]),
            **chosen,
        )
        experiment = _create(out, plan_name=plan_name, choices=choices)
    console = Console(stderr=True)
    (out / "summary.json").unlink(missing_ok=True)  # that of the shorter run that is being continued
    try:
        with _progress(experiment, console) as heard:
            if engine == "inprocess":
                from mdhfl.runs.inprocess import run_in_process

                run_in_process(out, experiment=experiment, heard=heard)
            else:
                _run_in_flare(out, heard)
    except KeyboardInterrupt:
        raise click.ClickException(
            f"interrupted; every finished round is kept. Continue with: mdhfl run {plan_name} "
            f"--federation {chosen['federation']} --out {out} --resume"
        ) from None
    _print_scores(out)


def _create(out: Path, *, plan_name: str, choices: Choices) -> Experiment:
    from mdhfl.flare.simulator import check_simulator_can_take
    from mdhfl.jobs import PLANS

    if plan_name not in PLANS:
        raise ValueError(f"no plan {plan_name!r}; there are: {', '.join(PLANS)}")
    if choices.engine == "flare":
        check_simulator_can_take(out, sites=len(read_federation(choices.federation)["sites"]))
    return create_run(out, plan=PLANS[plan_name], choices=choices)


def _run_in_flare(out: Path, heard: Any) -> None:
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
                seen = _pass_on(progress, seen, heard)
                time.sleep(0.2)
            _pass_on(progress, seen, heard)
        finally:
            kill_simulator(process.pid)
    if not (out / "summary.json").exists():
        raise click.ClickException(f"FLARE's simulator ended without a result; {_last_error(log)}. See {log}")


def _pass_on(progress: Path, seen: int, heard: Any) -> int:
    text = progress.read_text(encoding="utf-8") if progress.exists() else ""
    lines = text.split("\n")[:-1]  # what follows the last line feed is still being written
    for line in lines[seen:]:
        heard(**json.loads(line))
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

        def heard(request: Request | None = None, answer: Answer | None = None, **line: Any) -> None:
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

        yield heard


def _print_scores(out: Path) -> None:
    from mdhfl.reports.terminal import print_scores

    print_scores([json.loads((out / "summary.json").read_text(encoding="utf-8"))])
    click.echo(f"results: {out}    next: mdhfl report {out} --out report/")


def _default_threads(engine: str, federation: Path) -> int:
    import os

    cores = os.cpu_count() or 1
    return cores if engine == "inprocess" else max(1, cores // max(1, len(read_federation(federation)["sites"])))


def _plans() -> str:
    from mdhfl.jobs import PLANS

    return ", ".join(f"{plan.name} ({plan.summary})" for plan in PLANS.values())


run_command.help = HELP.format(plans=_plans())
