"""Every method on a real GPU, where there is one: it runs, learns what the CPU learns, and goes on where it was."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fakes.simulated import changes_for, model_of, new_run, numbers_of, run
from torch.nn import functional as F

from mdhfl.jobs import RECIPES
from mdhfl.learning.bundle import built_in_bundles
from mdhfl.learning.model import Model
from mdhfl.runs.inprocess import run_in_process
from mdhfl.runs.resume import resume_run
from mdhfl.server.journal import read_rows

if not torch.cuda.is_available():
    pytest.skip("NO GPU: nothing was trained on one, so its path was not tested", allow_module_level=True)
OPTIONAL = {"efficientnet_lite0": "efficientnet_lite_pytorch", "swarm_fhe": "tenseal"}
SWARMS = ("sl_fedl", "swarm_fhe")


def needs(name: str) -> None:
    if name in OPTIONAL:
        pytest.importorskip(OPTIONAL[name])


def answers_after_training(bundle: str, device: str) -> torch.Tensor:
    """Return (24, 3) probabilities of a bundle trained for three epochs, from the same start on any device."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (24, 3, 32, 32), dtype=torch.uint8, generator=generator)
    labels = torch.arange(24) % 3
    model = Model.open(bundle, num_classes=3, image_size=32, device=device, seed=0, averaging=0.9)
    model.fit(images, labels, loss=F.cross_entropy, epochs=3, seed=1, transforms_seed=2)
    return model.predict(images).softmax(dim=1)


@pytest.mark.parametrize("name", sorted(built_in_bundles()))
def test_a_bundle_learns_on_a_gpu_what_it_learns_on_the_cpu(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As nearly as other kernels allow; dropout draws other numbers on a GPU, so it is left out."""
    needs(name)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    monkeypatch.setattr(torch.nn.functional, "dropout", lambda input, *args, **kwargs: input)
    apart = (answers_after_training(name, "cuda") - answers_after_training(name, "cpu")).abs()
    assert float(apart.mean()) < 0.05


@pytest.mark.parametrize("recipe", sorted(RECIPES))
def test_every_method_runs_on_a_gpu_and_gives_the_same_numbers_twice(
    tmp_path: Path, three_sites: Path, recipe: str
) -> None:
    needs(recipe)
    bundles = ("shufflenet_v2",) if recipe in (*SWARMS, "fedavg", "fedprox") else ("shufflenet_v2", "resnet10")
    changes = changes_for(recipe)
    rows, _ = run(tmp_path / "one", three_sites, recipe, changes=changes, bundles=bundles, device="cuda")
    losses = [row["losses"]["train"] for row in rows if row["losses"]["train"] is not None]
    assert losses
    assert np.isfinite(losses).all()
    if recipe not in SWARMS:  # whose order of merging is drawn anew each time
        again, _ = run(tmp_path / "two", three_sites, recipe, changes=changes, bundles=bundles, device="cuda")
        assert rows == again


def test_an_interrupted_run_goes_on_on_a_gpu_as_if_nothing_had_been(tmp_path: Path, three_sites: Path) -> None:
    class Stop(Exception):
        pass

    def interrupt(request: Any, answer: Any) -> None:
        if request.round == 2:
            raise Stop

    options: dict[str, Any] = {
        "recipe": "mdhfl_plus",
        "bundles": ("resnet10", "mobilenet_v2"),
        "rounds": 3,
        "device": "cuda",
    }
    run_in_process(tmp_path / "whole", experiment=new_run(tmp_path / "whole", three_sites, **options))
    with pytest.raises(Stop):
        run_in_process(
            tmp_path / "cut", experiment=new_run(tmp_path / "cut", three_sites, **options), on_answer=interrupt
        )
    run_in_process(tmp_path / "cut", experiment=resume_run(tmp_path / "cut"))
    whole, cut = (numbers_of(read_rows(tmp_path / name / "results.jsonl")) for name in ("whole", "cut"))
    assert whole == cut
    for site in ("site-1", "site-2", "site-3"):
        one, other = (model_of(tmp_path / name, site) for name in ("whole", "cut"))
        assert all(torch.equal(one[key], other[key]) for key in one)


def test_a_run_made_on_a_gpu_is_exported_on_a_machine_without_one(tmp_path: Path, federation: Path) -> None:
    run(tmp_path / "run", federation, "mdhfl_plus", device="cuda")
    command = [sys.executable, "-m", "mdhfl.commands.cli", "export-bundle", str(tmp_path / "run"), "--site", "site-1"]
    done = subprocess.run(
        [*command, "--out", str(tmp_path / "bundle")],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    state = torch.load(tmp_path / "bundle" / "models" / "model.pt", map_location="cpu", weights_only=True)
    assert state


def test_a_privacy_budget_is_kept_on_a_gpu(tmp_path: Path, federation: Path) -> None:
    pytest.importorskip("opacus")
    budget = {"epsilon": 5, "delta": 1e-3}
    rows, _ = run(
        tmp_path / "run", federation, "mdhfl_plus", device="cuda", bundles=("shufflenet_v2_group",), privacy=budget
    )
    assert rows


@pytest.mark.slow
def test_the_simulator_of_flare_gives_the_numbers_of_one_process_on_a_gpu(tmp_path: Path, federation: Path) -> None:
    for engine in ("inprocess", "flare"):
        command = [sys.executable, "-m", "mdhfl.commands.cli", "run", "mdhfl_plus", "--federation", str(federation)]
        command += ["--engine", engine, "--rounds", "2", "--set", "warm_up_epochs=1", "--device", "cuda"]
        command += ["--bundles", "shufflenet_v2,resnet10", "--out", str(tmp_path / engine)]
        subprocess.run(command, check=True)
    own, flare = (numbers_of(read_rows(tmp_path / name / "results.jsonl")) for name in ("inprocess", "flare"))
    assert own == flare
