"""The command itself, in a test's own process, and the arguments of a small run."""

import sys
from pathlib import Path

import pytest

from mdhfl.commands import cli


def mdhfl(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """Run the command and return its exit code."""
    monkeypatch.setattr(sys, "argv", ["mdhfl", *map(str, arguments)])
    try:
        cli.main()
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def run_arguments(federation: Path, out: Path, *more: object, engine: str = "inprocess") -> list[object]:
    """Return the words of `mdhfl run mdhfl` with one small network and one thread."""
    return [
        "run", "mdhfl", "--federation", federation, "--engine", engine, "--bundles", "shufflenet_v2",
        "--threads", 1, "--out", out, *more,
    ]  # fmt: skip
