"""Imports point one way, and what must start fast or run without torch or FLARE does."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "custom" / "mdhfl"
LAYERS = [  # a module may import from its own layer and from those after it
    {"cli", "commands"},
    {"comparison_runs", "comparison_table", "comparison_figure", "pooled_scores"},
    {"comparison"},
    {"jobs"},
    {"simulator", "job", "report", "export"},
    {"controller", "executor", "filters", "inprocess"},
    {"results", "run_folder", "plan", "server_desk"},
    {"federation", "site"},
    {"site_round"},
    {"site_work"},
    {"swarm", "site_swarm", "swarm_leader", "image_cache", "server_settings", "distillation"},
    {"experiment", "state", "training", "bundle", "transforms", "data", "site_settings", "ledger", "swarm_shares"},
    {"messages"},
    {"methods"},
    {"teaching", "weights", "election"},
    {"knowledge", "losses", "metrics", "parameters", "peers", "ckks", "seeds", "timing", "checked_json"},
    {"resources"},
]


def layer_of(module: str) -> int:
    top = module.removeprefix("mdhfl.").split(".")[0]
    if top.startswith(("report", "tables")):
        top = "report"
    if top.startswith(("export", "model_card")):
        top = "export"
    return next((i for i, layer in enumerate(LAYERS) if top in layer), -1)


def imports_of(path: Path) -> list[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.append(node.module)
        elif isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
    return found


MODULES = sorted(p for p in PACKAGE.rglob("*.py") if p.name != "__init__.py")


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_one_way(path: Path) -> None:
    own = layer_of(".".join(path.relative_to(PACKAGE).with_suffix("").parts))
    assert own >= 0, f"{path.name} has no layer: give it one in LAYERS"
    for imported in imports_of(path):
        if imported.startswith("mdhfl.") and not imported.startswith("mdhfl.preprocessing"):
            assert layer_of(imported) >= own, f"{path.name} imports {imported} from a layer above its own"


@pytest.mark.parametrize("path", sorted((ROOT / "preprocessing").rglob("*.py")), ids=lambda p: p.name)
def test_preprocessing_knows_no_torch_no_flare_and_no_federation(path: Path) -> None:
    for imported in imports_of(path):
        assert imported.split(".")[0] not in ("torch", "torchvision", "monai", "nvflare"), imported
        assert not imported.startswith("mdhfl.") or imported == "mdhfl.resources", imported


def loaded_after(code: str) -> set[str]:
    """Return which of the heavy packages a fresh interpreter has imported after running some code."""
    show = "import sys; print(*[m for m in ('torch', 'monai', 'nvflare', 'matplotlib') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", f"{code}\n{show}"], check=True, capture_output=True, text=True)
    return set(done.stdout.splitlines()[-1].split())


def test_the_loop_and_the_server_need_no_torch() -> None:
    assert loaded_after("import mdhfl.federation, mdhfl.results, mdhfl.jobs") == set()
    assert "torch" not in loaded_after("import mdhfl.controller")
    assert "monai" not in loaded_after("import mdhfl.controller")


def test_the_command_starts_without_anything_heavy() -> None:
    assert loaded_after("import mdhfl.cli, mdhfl.commands.run, mdhfl.commands.prepare, mdhfl.commands.check") == set()
