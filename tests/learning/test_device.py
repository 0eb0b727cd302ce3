"""A GPU that is not there is told in a line, before anything is prepared, opened or trained."""

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from fakes.simulated import log_of, new_run, site_of

from mdhfl.commands.check import check_command
from mdhfl.comparison.compare import compare
from mdhfl.learning.device import check_device, why_missing
from mdhfl.runs.folder import server_settings_path, site_settings_path
from mdhfl.server.trainer import trainer_from
from mdhfl.sharing.reasons import REASONS


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> int:
    """Let PyTorch see so many GPUs."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: request.param > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: request.param)
    return int(request.param)


@pytest.mark.parametrize(
    ("gpus", "device", "said"),
    [
        (0, "cpu", ""),
        (0, "cuda", "finds no GPU on this machine"),
        (0, "cuda:0", "choose cpu instead"),
        (1, "cuda", ""),
        (1, "cuda:0", ""),
        (1, "cuda:1", "device 'cuda:1': this machine has cuda:0; choose one of these, or cpu"),
        (4, "cuda:3", ""),
        (4, "cuda:7", "this machine has cuda:0 to cuda:3"),
    ],
    indirect=["gpus"],
)
def test_what_there_is_and_what_there_is_not(gpus: int, device: str, said: str) -> None:
    why = why_missing(device)
    assert said in why if said else why == ""
    assert "\n" not in why
    if said:
        with pytest.raises(ValueError, match=r"device 'cuda"):
            check_device(device)


@pytest.mark.parametrize("gpus", [0], indirect=True)
def test_a_run_begins_nothing(gpus: int, tmp_path: Path, federation: Path) -> None:
    with pytest.raises(ValueError, match="finds no GPU"):
        new_run(tmp_path / "run", federation, device="cuda")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("gpus", [0], indirect=True)
def test_a_comparison_begins_nothing(gpus: int, tmp_path: Path) -> None:
    file = Path(__file__).resolve().parents[2] / "experiments" / "headline.yaml"
    with pytest.raises(ValueError, match="finds no GPU"):
        compare(file, out=tmp_path / "out", work=tmp_path / "work", device="cuda")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("gpus", [0], indirect=True)
def test_a_site_refuses_by_name_and_its_check_says_what_there_is(gpus: int, tmp_path: Path, federation: Path) -> None:
    experiment = new_run(tmp_path / "run", federation)
    path = site_settings_path(tmp_path / "run", "site-1")
    path.write_text(json.dumps({**json.loads(path.read_text()), "device": "cuda:0"}))
    refusal = site_of(tmp_path / "run", "site-1").answer(experiment.request("warm_up", number=0)).refusal
    assert refusal is not None
    assert REASONS["device"] in refusal
    assert "device 'cuda:0': PyTorch" in log_of(tmp_path / "run", refusal)
    done = CliRunner().invoke(check_command, [str(path)])
    assert done.exit_code != 0
    assert "problem: device 'cuda:0': PyTorch" in done.output


@pytest.mark.parametrize("gpus", [0], indirect=True)
def test_a_server_that_trains_says_so_when_it_opens(gpus: int, tmp_path: Path, three_sites: Path) -> None:
    experiment = new_run(tmp_path / "run", three_sites, recipe="feddf")
    path = server_settings_path(tmp_path / "run")
    path.write_text(json.dumps({**json.loads(path.read_text()), "device": "cuda"}))
    with pytest.raises(ValueError, match=r"server\.json: device 'cuda': PyTorch .* finds no GPU"):
        trainer_from(path, experiment=experiment)()
