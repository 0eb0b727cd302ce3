"""The examples run, and MDH-FL by hand is the engine, bit for bit."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
import yaml
from fakes.simulated import new_run

from mdhfl.files import shipped_folder
from mdhfl.runs.inprocess import run_in_process
from mdhfl.server.results import Results

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"


def by_hand() -> ModuleType:
    spec = importlib.util.spec_from_file_location("mdhfl_by_hand", EXAMPLES / "mdhfl_by_hand.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def bundle_without_augmentation(folder: Path) -> Path:
    """Write ShuffleNet's bundle without its random transforms: the one page has none."""
    (folder / "configs").mkdir(parents=True)
    text = (shipped_folder("bundles") / "shufflenet_v2" / "configs" / "train.yaml").read_text(encoding="utf-8")
    config = yaml.safe_load(text)
    del config["random_transforms"]
    (folder / "configs" / "train.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    return folder


def test_one_page_gives_the_engines_numbers(tmp_path: Path, three_sites: Path) -> None:
    bundle = bundle_without_augmentation(tmp_path / "plain")
    experiment = new_run(tmp_path / "run", three_sites, bundles=(str(bundle),), rounds=2, seed=5)
    run_in_process(tmp_path / "run", experiment=experiment)
    results = Results(tmp_path / "run", experiment=experiment)
    last = results.resume()
    assert last is not None
    torch.set_num_threads(1)
    with torch.random.fork_rng(devices=[]):
        answers, knowledge = by_hand().mdhfl(three_sites, rounds=2, seed=5)
    rows = {row["site"]: row for row in results.rows() if row["round"] == 2}
    for site, shared in last.shared.items():
        np.testing.assert_array_equal(knowledge[site].numpy(), shared.values)  # type: ignore[attr-defined]
        predicted, labels = answers[site]
        assert float((predicted == labels).float().mean()) == pytest.approx(rows[site]["test"]["accuracy"])


def test_the_page_is_one_page() -> None:
    assert len((EXAMPLES / "mdhfl_by_hand.py").read_text(encoding="utf-8").splitlines()) <= 80


@pytest.mark.slow
@pytest.mark.parametrize("script", ["quickstart.py"])
def test_a_script_runs_as_it_stands(tmp_path: Path, script: str) -> None:
    pytest.importorskip("pandas")
    small = (EXAMPLES / script).read_text(encoding="utf-8").replace("per_site=200", "per_site=16")
    small = small.replace("rounds=5", "rounds=1")
    (tmp_path / script).write_text(small, encoding="utf-8")
    done = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True, env=os.environ)
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / "report" / "report.html").is_file()


@pytest.mark.slow
def test_the_notebook_runs_from_top_to_bottom(tmp_path: Path) -> None:
    nbformat = pytest.importorskip("nbformat")
    client = pytest.importorskip("nbclient")
    notebook = nbformat.read(EXAMPLES / "quickstart.ipynb", as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        cell.source = cell.source.replace("per_site=200", "per_site=16").replace("rounds=5", "rounds=1")
    client.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert (tmp_path / "report" / "report.html").is_file()
