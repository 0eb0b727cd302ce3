"""What a run shows in the terminal: a bar while it goes on, and the table of its scores."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Group
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from mdhfl.methods import METHODS
from mdhfl.metrics import SCORES
from mdhfl.rounds.experiment import Experiment
from mdhfl.runs.progress import OnStep, Step
from mdhfl.showing.console import open_console
from mdhfl.showing.texts import one_line

UNKNOWN = "\N{EN DASH}"
NOT_TOLD = "not told"

NARROWEST = 80  # characters: in a log file, where there is no terminal to fit
LEAST = 6  # characters of a name, however narrow the terminal


def print_scores(summaries: Sequence[Mapping[str, Any]]) -> None:
    """Print the scores of some runs to standard output."""
    open_console(narrowest=NARROWEST).print(score_table(summaries))


def score_table(summaries: Sequence[Mapping[str, Any]]) -> Group:
    """Lay out the scores of some runs: for each a line per site, then the mean over sites, on 80 columns.

    Args:
        summaries: contents of summary.json files; what is missing in one shows as a dash, what a site keeps as such.
    """
    return Group(*(_table_of(summary) for summary in summaries))


def _table_of(summary: Mapping[str, Any]) -> Table:
    title = f"{_run_name(summary)}: clean test images, last round"
    table = Table(title=Text(title), title_justify="left", box=None, padding=(0, 1, 0, 0), pad_edge=False)
    for name in ("site", "architecture"):
        table.add_column(name, overflow="fold", min_width=LEAST)
    for name in (*(score.short for score in SCORES.values()), "kB up", "kB down", "s"):
        table.add_column(name, justify="right", overflow="fold", min_width=LEAST - 1)
    for site, values in summary.get("sites", {}).items():
        architecture = values.get("architecture") or values.get("bundle") or UNKNOWN
        table.add_row(Text(one_line(site)), Text(one_line(architecture)), *_numbers(values))
    mean = [Text(cell, style="bold") for cell in _numbers(summary.get("mean", {}))]
    table.add_row(Text("mean", style="bold"), "", *mean)
    return table


def _run_name(summary: Mapping[str, Any]) -> str:
    method = str(summary.get("method", "?"))
    shares = METHODS[method].shares if method in METHODS else None
    marked = f"{method} (shares {shares})" if shares and "weights" in shares else method
    parts = [marked, str(summary.get("engine", "?")), f"seed {summary.get('seed', '?')}"]
    if summary.get("status", "finished") != "finished":
        parts.append(f"unfinished (round {summary.get('rounds', '?')})")
    return one_line(", ".join(parts))


def _numbers(values: Mapping[str, Any]) -> list[str]:
    unknown = NOT_TOLD if "round" in values else UNKNOWN  # it answered, and its IT keeps its scores
    scores = [_format(values.get(name), "{:.3f}", unknown=unknown) for name in SCORES]
    traffic = [_format(values.get(name), "{:,.1f}", scale=1e-3) for name in ("bytes_up", "bytes_down")]
    return [*scores, *traffic, _format(values.get("seconds"), "{:.1f}")]


def _format(value: Any, form: str, *, scale: float = 1, unknown: str = UNKNOWN) -> str:
    return form.format(value * scale) if isinstance(value, (int, float)) else unknown


@contextmanager
def progress_bar(experiment: Experiment) -> Iterator[OnStep]:
    """Show one bar over all answers on standard error, with what came last beside it."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=open_console(error=True), transient=False) as bar:
        answers = (experiment.last_round + 1) * len(experiment.sites)
        task = bar.add_task("starting the sites", total=answers)

        def on_step(step: Step) -> None:
            if step.refusal and step.action != "open":  # the round says it again
                bar.console.print(one_line(step.refusal), style="yellow")
            if step.action in ("warm_up", "learn", "adopt"):
                answered = max(bar.tasks[0].completed + 1, step.round * len(experiment.sites))
                shown = f"round {step.round}/{experiment.last_round}, {step.site} answered"
                bar.update(task, completed=min(answered, answers), description=shown)  # some answer twice

        yield on_step
