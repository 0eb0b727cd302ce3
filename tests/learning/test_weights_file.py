"""Weights from a file: of the same network, with the last layer of other classes, or not at all."""

from pathlib import Path

import pytest
import torch
from fakes.simulated import new_run
from torch import Tensor

from mdhfl.files import read_json, write_json
from mdhfl.learning.bundle import BundleError, load_bundle
from mdhfl.learning.model import Model
from mdhfl.learning.weights_file import load_weights, start_from
from mdhfl.runs.folder import site_settings_path
from mdhfl.runs.inprocess import run_in_process
from mdhfl.site.settings import read_site_settings


def network(classes: int, *, seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    return load_bundle("shufflenet_v2", num_classes=classes, image_size=32).network


def saved(path: Path, state: dict[str, Tensor]) -> Path:
    torch.save(state, path)
    return path


def test_weights_of_the_same_network_are_loaded(tmp_path: Path) -> None:
    first = network(4)
    for load in (load_weights, start_from):
        second = network(4, seed=1)
        load(second, saved(tmp_path / "model.pt", first.state_dict()), what="a test")
        assert all(torch.equal(value, first.state_dict()[name]) for name, value in second.state_dict().items())


def test_a_last_layer_for_other_classes_keeps_its_own_weights(tmp_path: Path) -> None:
    first, second = network(1000), network(4, seed=1)
    last = {name: value.clone() for name, value in second.state_dict().items() if name.startswith("1.fc.")}
    path = saved(tmp_path / "imagenet.pt", first.state_dict())
    start_from(second, path, what="a test")
    assert len(last) == 2
    for name, value in second.state_dict().items():
        assert torch.equal(value, last.get(name, first.state_dict()[name])), name
    with pytest.raises(BundleError, match=r"imagenet\.pt: expected a state_dict of this network"):
        load_weights(second, path, what="a test")


def test_any_other_layer_must_fit(tmp_path: Path) -> None:
    state = network(4).state_dict()
    name = next(iter(state))
    path = saved(tmp_path / "model.pt", {**state, name: state[name][:-1]})
    with pytest.raises(BundleError, match=r"model\.pt: expected a state_dict of this network"):
        start_from(network(4), path, what="a test")


class Planted:
    """An object whose unpickling would run code."""

    def __reduce__(self) -> tuple:
        return (print, ("unpickled",))


@pytest.mark.parametrize("kind", ["missing", "damaged", "another network's", "no tensors", "a list", "code"])
def test_weights_that_cannot_be_used(tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "model.pt"
    contents = {
        "another network's": {"weight": torch.zeros(3)},
        "no tensors": {"weight": 3},
        "a list": [torch.zeros(3)],
        "code": {"weight": Planted()},
    }
    if kind == "damaged":
        path.write_bytes(b"not a checkpoint")
    elif kind in contents:
        torch.save(contents[kind], path)
    with pytest.raises(BundleError, match=r"bundle shufflenet_v2.*model\.pt") as caught:
        Model.open("shufflenet_v2", num_classes=4, image_size=32, weights=path)
    assert "\n" not in str(caught.value)
    assert "unpickled" not in capsys.readouterr().out


def test_a_site_starts_from_the_weights_that_its_settings_name(tmp_path: Path, federation: Path) -> None:
    """Beside a site that starts at random: without a step of training each ends where it began."""
    given = network(7, seed=3).state_dict()
    nothing = {"warm_up_epochs": 0, "local_epochs": 0}
    experiment = new_run(tmp_path / "run", federation, recipe="local", rounds=1, changes=nothing)
    first, second = experiment.sites[:2]
    path = site_settings_path(tmp_path / "run", first)
    weights = saved(path.parent / "pretrained.pt", given)
    write_json(path, {**read_json(path), "weights": "pretrained.pt"})
    settings = read_site_settings(path)
    assert settings.weights == weights.resolve()
    assert settings.to_json()["weights"] == str(weights.resolve())
    run_in_process(tmp_path / "run", experiment=experiment)
    ends = {
        site: torch.load(tmp_path / "run" / "sites" / site / experiment.id / "last.pt", weights_only=True)["model"]
        for site in (first, second)
    }
    name = next(name for name in given if "conv" in name or name.endswith("0.weight"))
    assert torch.equal(ends[first][name], given[name])
    assert not torch.equal(ends[second][name], given[name])
