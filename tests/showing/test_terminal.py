"""Whatever a text holds, the terminal shows it and obeys nothing."""

import ast
import io
import subprocess
import sys
from pathlib import Path

import pytest
from fakes.answers import EXPERIMENT
from fakes.hostile import FRAGMENTS, WORST, hidden_in, texts
from hypothesis import HealthCheck, example, given, settings
from rich.markdown import Markdown
from rich.table import Table
from rich.text import Text

from mdhfl.reports.terminal import print_scores, progress_bar
from mdhfl.runs.progress import Step
from mdhfl.showing.console import InertConsole, open_console
from mdhfl.showing.terminal import say
from mdhfl.showing.texts import one_line

ROOT = Path(__file__).resolve().parents[2]
WRITERS = {"click.echo", "click.secho", "sys.stdout.write", "sys.stderr.write", "print", "Console"}


@given(texts())
@example(WORST)
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_line_is_one_line_of_visible_characters(capsys: pytest.CaptureFixture[str], text: str) -> None:
    say(text)
    shown = capsys.readouterr().out
    assert shown == f"{one_line(text)}\n"
    assert not hidden_in(shown)


@given(texts())
@example(WORST)
@settings(deadline=None)
def test_tables_titles_bars_and_markdown_are_text(text: str) -> None:
    console = InertConsole(file=io.StringIO(), width=4000, markup=False, emoji=False, highlight=False)
    table = Table(title=text)
    table.add_column(text)
    table.add_row(text)
    table.add_row(Text(text))
    for each in (text, table, Text(text, style="bold"), Markdown(f"[{text}](http://evil.example)", hyperlinks=True)):
        console.print(each)
    assert not hidden_in(console.file.getvalue())  # type: ignore[attr-defined]


def test_a_terminal_gets_rich_s_own_sequences_and_no_link() -> None:
    console = InertConsole(file=io.StringIO(), force_terminal=True, markup=False, width=80)
    console.print(Text("red", style="red"), Markdown("[a](http://evil.example)"), "\x1b[2J")
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "\x1b[31m" in shown
    assert "\x1b]8" not in shown
    assert "\x1b[2J" not in shown


def test_a_bar_shows_names_and_refusals_of_others(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar(EXPERIMENT) as on_step:
        for fragment in FRAGMENTS:
            on_step(Step(action="learn", round=1, site=fragment, refusal=f"no: {fragment}{WORST}"))
    shown = capsys.readouterr().err
    assert "[/x]\\x1b[2J" in "".join(shown.split())
    assert not hidden_in(shown)


def test_answers_that_are_given_twice_do_not_overfill_the_bar(capsys: pytest.CaptureFixture[str]) -> None:
    """As where all sites start again in the middle of a round."""
    answers = (EXPERIMENT.last_round + 1) * len(EXPERIMENT.sites)
    with progress_bar(EXPERIMENT) as on_step:
        for _ in range(answers + 3):
            on_step(Step(action="learn", round=1, site="site-1", refusal=""))
    assert f"{answers}/{answers}" in capsys.readouterr().err


def test_scores_show_any_summary(capsys: pytest.CaptureFixture[str]) -> None:
    print_scores([{"method": WORST, "engine": WORST, "sites": {WORST: {"architecture": WORST}}, "mean": {}}])
    assert not hidden_in(capsys.readouterr().out)


def test_an_encoding_that_lacks_a_character_does_not_stop_a_line() -> None:
    code = (
        "from mdhfl.showing.terminal import say; from mdhfl.showing.console import open_console\n"
        "say('caf\\xe9 \\udcff'); say('caf\\xe9', error=True); open_console().print('caf\\xe9 \\u2013')"
    )
    environment = {"PATH": "/usr/bin", "LANG": "C", "LC_ALL": "C", "PYTHONIOENCODING": "ascii:strict"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode("ascii").splitlines() == ["caf\\xe9 \\udcff", "caf\\xe9 \\u2013"]


def test_a_log_is_wide_enough() -> None:
    assert open_console(narrowest=140).width >= 140


def names_used(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    calls = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
    return calls | imported


@pytest.mark.parametrize("folder", ["custom", "preprocessing", "jobs"])
def test_nothing_else_writes_to_the_terminal(folder: str) -> None:
    for path in sorted((ROOT / folder).rglob("*.py")):
        if path.parent.name != "showing":
            found = names_used(path) & WRITERS
            assert not found, f"{path}: {', '.join(found)}; let mdhfl.showing do it"
