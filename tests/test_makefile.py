"""`make` says what it is about to download, and the demo's commands are commands."""

import re
import subprocess
from pathlib import Path

import pytest

from benchmarks.demo import demo_commands
from mdhfl.commands.cli import COMMANDS

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("verb", ["setup", "demo", "test"])
def test_what_is_downloaded_is_said_before_it_is(verb: str, tmp_path: Path) -> None:
    """From a clone without an environment."""
    command = ["make", "--dry-run", "--no-print-directory", f"READY={tmp_path / 'ready'}", verb]
    lines = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()
    assert re.match(r'echo "installing mdhfl into \.venv: \d+ GB', lines[0])
    install = next(i for i, line in enumerate(lines) if " pip install --editable" in line)
    assert "--quiet" not in lines[install]  # uv shows how far it is
    assert "--compile-bytecode" in lines[install]  # pip does so unasked, uv does not
    assert install > 0


def test_the_demo_ends_with_a_report_of_both_runs(tmp_path: Path) -> None:
    commands = demo_commands(tmp_path)
    assert [words[0] for words in commands] == ["prepare", "run", "run", "report"]
    assert {words[0] for words in commands} <= set(COMMANDS)
    assert commands[1][1] == "mdhfl_plus"
    assert commands[2][1] == "local_plus"
    outs = [words[words.index("--out") + 1] for words in commands]
    assert commands[3][1:3] == outs[1:3]


def test_all_comparisons_with_results_are_repeated() -> None:
    lines = (ROOT / "Makefile").read_text().replace("\\\n", "").splitlines()
    named = next(line for line in lines if line.startswith("COMPARISONS")).partition(":=")[2].split()
    assert len(named) == len(set(named))
    assert set(named) == {path.name for path in (ROOT / "experiments" / "results").iterdir()}
