"""What the documents tell a reader to type exists, and the README's tour works."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from mdhfl.commands.cli import COMMANDS, group

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def typed_lines(document: Path) -> Iterator[str]:
    """Every line in a fenced block without a language, its comment cut off."""
    for language, block in re.findall(r"```(\w*)\n(.*?)```", document.read_text(encoding="utf-8"), re.DOTALL):
        if not language:
            lines = block.replace("\\\n", " ").splitlines()  # a line that goes on in the next is one
            yield from (line.split("  #")[0].strip() for line in lines if line.strip())


def options_of(command: click.Command) -> set[str]:
    return {option for parameter in command.params for option in parameter.opts if option.startswith("-")}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: p.name)
def test_every_command_and_option_exists(document: Path) -> None:
    verbs = set(re.findall(r"(?m)^([a-z]+):", (ROOT / "Makefile").read_text()))
    for line in typed_lines(document):
        if line.startswith("make "):
            assert line.split()[1] in verbs, line
        elif line.startswith("mdhfl "):
            words = shlex.split(line)
            assert words[1] in COMMANDS, line
            command = group.get_command(click.Context(group), words[1])
            if isinstance(command, click.Group):
                command = command.get_command(click.Context(command), words[2])
            assert command is not None, line
            given = {word for word in words[2:] if re.fullmatch(r"--[a-z-]+", word)}
            assert given <= options_of(command), line
        elif line.startswith(("python jobs/", "python -m ")):
            place = line.split()[1] if "jobs/" in line else line.split()[2].replace(".", "/") + ".py"
            place = place.removeprefix("mdhfl/") if place.startswith("mdhfl/jobs/") else place
            assert (ROOT / place).is_file() or (ROOT / place.removesuffix(".py")).is_dir(), line


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: p.name)
def test_every_test_that_is_named_exists(document: Path) -> None:
    named = set(re.findall(r"\btest_\w+\.py\b", document.read_text(encoding="utf-8")))
    assert named <= {path.name for path in (ROOT / "tests").rglob("test_*.py")}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: p.name)
def test_every_link_leads_somewhere(document: Path) -> None:
    for target, _, anchor in re.findall(r"\]\(([^)#]*)(#([^)]+))?\)", document.read_text(encoding="utf-8")):
        if target.startswith("http"):
            continue
        path = document.parent / target if target else document
        assert path.exists(), f"{document.name}: {target}"
        assert not anchor or anchor in anchors_of(path), f"{document.name}: {target}#{anchor}"


def anchors_of(document: Path) -> set[str]:
    """Return the anchors that GitHub gives a document's headings."""
    titles = re.findall(r"(?m)^#+ (.+)$", document.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: p.name)
def test_python_in_the_documents_compiles(document: Path) -> None:
    for block in re.findall(r"```python\n(.*?)```", document.read_text(encoding="utf-8"), re.DOTALL):
        compile(block, document.name, "exec")


def test_every_path_of_the_file_map_exists() -> None:
    section = (ROOT / "README.md").read_text(encoding="utf-8").split("## Files")[1].split("## ")[0]
    for row in re.findall(r"(?m)^\| (`.*?) \|", section):
        first, *others = re.findall(r"`([^`]+)`", row)
        for path in (first, *(str(Path(first).parent / other) for other in others if "/" not in other)):
            assert (ROOT / path).exists(), path


@pytest.mark.slow
def test_the_readmes_tour_works(tmp_path: Path) -> None:
    """The blocks of section Use, line by line, with fewer images and rounds; FLARE's simulator included."""
    text = (ROOT / "README.md").read_text(encoding="utf-8").split("## Use")[1].split("\n## ")[0]
    blocks = re.findall(r"```\n(.*?)```", text, re.DOTALL)
    lines = [line.split("  #")[0].strip() for block in blocks for line in block.splitlines()]
    assert [len(block.splitlines()) for block in blocks] == [3, 8]
    for line in lines:
        small = line.replace("--per-site 200", "--per-site 16 --public-count 16").replace("--rounds 5", "--rounds 1")
        command = [sys.executable, "-m", "mdhfl.commands.cli", *shlex.split(small)[1:]]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, f"{small}\n{done.stdout}{done.stderr}"
    for report in ("report", "both"):
        assert (tmp_path / report / "report.html").is_file()
    assert (tmp_path / "shared_bundle" / "models" / "model.pt").is_file()
