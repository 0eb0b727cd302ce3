"""Imports point one way, there is no circle, and what must start fast or run without torch or FLARE does."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PLACES = {
    "mdhfl": ROOT / "custom" / "mdhfl",
    "mdhfl.preprocessing": ROOT / "preprocessing",
    "mdhfl.jobs": ROOT / "jobs",
}
# From the ground up. What stands in a line imports from the lines below it and, within a folder, from its neighbours.
PACKAGE = [
    "digests extras files losses metrics seeds sharing showing timing",
    "learning methods preprocessing store",
    "hosting rounds swarm",
    "server site",
    "runs",
    "flare jobs reports status",
    "api audit comparison export",
    "commands",
]
PREPROCESSING = [
    "drawing partition raw",
    "sources",
    "arguments",
    "inputs",
    "pool",
    "placing",
    "folder gathering",
    "look prepare",
]
OUTSIDE = {"digests", "files", "seeds", "showing"}  # what preprocessing may know of the package around it


def module_of(path: Path) -> str:
    place = max((p for p in PLACES.items() if path.is_relative_to(p[1])), key=lambda p: len(p[0]))
    parts = path.relative_to(place[1]).with_suffix("").parts
    return ".".join([place[0], *(part for part in parts if part != "__init__")])


MODULES = {module_of(path): path for place in PLACES.values() for path in sorted(place.rglob("*.py"))}


def is_main(node: ast.AST) -> bool:
    """Whether a statement is `if __name__ == "__main__":`: what stands in it is run, never imported."""
    return isinstance(node, ast.If) and ast.unparse(node.test) == "__name__ == '__main__'"


def imports_of(path: Path) -> set[str]:
    """Return the modules that a file imports, wherever the statement stands, and for whatever purpose."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found: set[str] = set()
    for statement in tree.body:
        for node in [] if is_main(statement) else ast.walk(statement):
            if isinstance(node, ast.ImportFrom):
                assert not node.level, f"{path}: a relative import"
                found |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
            elif isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
    return found


OURS = {module: sorted(imports_of(path) & set(MODULES) - {module, "mdhfl"}) for module, path in MODULES.items()}


def room_of(module: str) -> tuple[str, str]:
    """Return the house and the room (a folder, or a file by itself) of a module."""
    parts = module.split(".")[1:]
    return ("preprocessing", parts[1]) if parts[0] == "preprocessing" and parts[1:] else ("package", parts[0])


def level_of(room: str, order: list[str]) -> int:
    levels = [number for number, line in enumerate(order) if room in line.split()]
    assert levels, f"{room}: has no level; give it one in the order of {Path(__file__).name}"
    return levels[0]


def rooms(module: str) -> list[tuple[str, str, list[str]]]:
    """Return the pairs of rooms that a module's imports join, each with the order that they must keep."""
    house, room = room_of(module)
    pairs = []
    for imported in OURS[module]:
        other_house, other = room_of(imported)
        if house == other_house == "preprocessing":
            pairs.append((room, other, PREPROCESSING))
        else:
            pairs.append((
                "preprocessing" if house == "preprocessing" else room,
                "preprocessing" if other_house == "preprocessing" else other,
                PACKAGE,
            ))  # fmt: skip
    return [(a, b, order) for a, b, order in pairs if a != b]


def test_there_are_at_most_eight_levels_and_a_room_stands_on_one() -> None:
    for order in (PACKAGE, PREPROCESSING):
        assert len(order) <= 8
        names = " ".join(order).split()
        assert len(names) == len(set(names))


def test_every_room_has_a_level_and_every_level_has_rooms() -> None:
    found: dict[str, set[str]] = {"package": {"preprocessing"}, "preprocessing": set()}
    for module in set(MODULES) - set(PLACES):
        house, room = room_of(module)
        found[house].add(room)
    assert found["package"] == set(" ".join(PACKAGE).split())
    assert found["preprocessing"] == set(" ".join(PREPROCESSING).split())


@pytest.mark.parametrize("module", sorted(set(MODULES) - set(PLACES)))
def test_nothing_points_up_or_sideways(module: str) -> None:
    for room, other, order in rooms(module):
        assert level_of(other, order) < level_of(room, order), f"{module} imports from {other}, which is not below it"


def test_there_is_no_circle_of_modules() -> None:
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, " -> ".join([*trail, module])
        if module not in done:
            for imported in OURS[module]:
                visit(imported, (*trail, module))
            done.add(module)

    for module in sorted(set(MODULES) - set(PLACES)):
        visit(module, ())


@pytest.mark.parametrize("module", [m for m in sorted(MODULES) if m.startswith("mdhfl.preprocessing")])
def test_preprocessing_knows_no_torch_no_flare_and_no_federation(module: str) -> None:
    for imported in imports_of(MODULES[module]):
        top, _, rest = imported.partition(".")
        assert top not in ("torch", "torchvision", "monai", "nvflare"), imported
        if top == "mdhfl":
            assert rest.split(".")[0] in {"preprocessing", *OUTSIDE}, imported


@pytest.mark.parametrize("package", [m for m, p in sorted(MODULES.items()) if p.name == "__init__.py"])
def test_every_package_says_what_lives_there(package: str) -> None:
    said = ast.get_docstring(ast.parse(MODULES[package].read_text(encoding="utf-8")))
    assert said, package
    assert package in PLACES or "import" in said, f"{package}: its docstring does not say what it may import"


def test_tests_mirror_the_folders() -> None:
    folders = {path.name for path in (ROOT / "tests").iterdir() if path.is_dir() and any(path.glob("test_*.py"))}
    packages = {m.split(".")[1] for m, path in MODULES.items() if path.name == "__init__.py" and "." in m}
    assert packages <= folders, f"without a folder of tests: {sorted(packages - folders)}"
    top = {"benchmarks", "bundles", "examples", "experiments"}
    assert folders <= packages | top, f"tests of nothing: {sorted(folders - packages - top)}"


def loaded_after(code: str) -> set[str]:
    """Return which of the heavy packages a fresh interpreter has imported after running some code."""
    show = "import sys; print(*[m for m in ('torch', 'monai', 'nvflare', 'matplotlib') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", f"{code}\n{show}"], check=True, capture_output=True, text=True)
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.slow
def test_the_loop_and_the_server_need_no_torch() -> None:
    assert loaded_after("import mdhfl.rounds.loop, mdhfl.server.results, mdhfl.jobs") == set()
    assert loaded_after("import mdhfl.status.places, mdhfl.status.serving, mdhfl.status.terminal") == set()
    assert "torch" not in loaded_after("import mdhfl.flare.controller")
    assert "monai" not in loaded_after("import mdhfl.flare.controller")


def test_the_command_starts_without_anything_heavy() -> None:
    assert (
        loaded_after("import mdhfl.commands.cli, mdhfl.commands.run, mdhfl.commands.prepare, mdhfl.commands.check")
        == set()
    )
