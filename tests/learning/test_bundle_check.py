"""What `mdhfl check` finds in a bundle by trying it, and that a bundle's code is its own."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from test_bundle_loading import own_bundle

from mdhfl.learning.bundle import built_in_bundles, load_bundle
from mdhfl.learning.bundle_check import verify_bundle

BODY = "torch.nn.Conv2d(3, 4, 3, 2), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()"
HEAD = "torch.nn.Linear(4, @num_classes)"
CODE = """
from torch import nn
from scripts.width import WIDTH

class Tiny(nn.Sequential):
    def __init__(self, num_classes):
        body = nn.Conv2d(3, WIDTH, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        super().__init__(*body, nn.Linear(WIDTH, num_classes))
"""


def sequential(*layers: str) -> str:
    return f"$torch.nn.Sequential({', '.join(layers)})"


@pytest.mark.parametrize("name", built_in_bundles())
def test_our_own_pass(name: str) -> None:
    state = torch.get_rng_state()
    assert verify_bundle(name, num_classes=13, image_size=32) == []
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        pytest.param(
            {
                "network_def": {
                    "_target_": "torchvision.models.googlenet",
                    "num_classes": "@num_classes",
                    "init_weights": False,
                }
            },
            "expected one tensor of logits while it trains, got GoogLeNetOutputs; switch its auxiliary outputs off",
            id="auxiliary outputs",
        ),
        pytest.param(
            {"network_def": sequential("torch.nn.Flatten()", "torch.nn.LazyLinear(@num_classes)")},
            "expected layers of known size, got lazy ones (1.weight, 1.bias)",
            id="lazy",
        ),
        pytest.param(
            {"network_def": sequential(BODY, HEAD, "torch.nn.Softmax(1)")}, "rows that sum to 1", id="softmax"
        ),
        pytest.param(
            {"network_def": sequential(BODY, HEAD, "torch.nn.LogSoftmax(1)")}, "rows that sum to 1", id="log-softmax"
        ),
        pytest.param(
            {"intensity_transform": {"_target_": "ScaleIntensity", "minv": -1, "maxv": 1}},
            "maps each pixel by itself",
            id="by image",
        ),
        pytest.param(
            {"intensity_transform": {"_target_": "NormalizeIntensity", "channel_wise": True}},
            "maps each pixel by itself",
            id="by channel",
        ),
        pytest.param(
            {"random_transforms": [{"_target_": "ScaleIntensityd", "keys": "image"}]},
            "expected images of shape (3, 32, 32) and type torch.uint8 as they came",
            id="random transforms of another type",
        ),
        pytest.param(
            {"random_transforms": [{"_target_": "RandSpatialCropd", "keys": "image", "roi_size": [16, 16]}]},
            "expected images of shape (3, 32, 32)",
            id="random transforms of another size",
        ),
        pytest.param(
            {"optimizer": {"_target_": "torch.optim.SGD", "params": "$[torch.nn.Parameter(torch.zeros(1))]"}},
            "a step changes no weight",
            id="an optimiser of other parameters",
        ),
        pytest.param(
            {"network_def": sequential("torch.nn.BatchNorm2d(3, track_running_stats=False)", BODY, HEAD)},
            "looks at the whole batch",
            id="the batch's statistics when asked",
        ),
    ],
)
def test_what_a_training_step_or_a_comparison_shows_is_named(tmp_path: Path, changes: dict, told: str) -> None:
    problems = verify_bundle(own_bundle(tmp_path / "own", **changes), num_classes=4, image_size=32)
    assert len(problems) == 1
    assert told in problems[0]
    assert problems[0].startswith("bundle own: ")


def with_scripts(path: Path, *, width: int) -> Path:
    """A bundle whose network is code of its own, as MONAI's model zoo has them."""
    bundle = own_bundle(path, network_def={"_target_": "scripts.net.Tiny", "num_classes": "@num_classes"})
    (bundle / "scripts").mkdir()
    (bundle / "scripts" / "__init__.py").write_text("")
    (bundle / "scripts" / "net.py").write_text(CODE)
    (bundle / "scripts" / "width.py").write_text(f"WIDTH = {width}\n")
    return bundle


def test_two_bundles_with_scripts_do_not_take_each_other_s(tmp_path: Path) -> None:
    bundles = {width: with_scripts(tmp_path / f"b{width}", width=width) for width in (4, 8)}
    path_before, modules_before = list(sys.path), set(sys.modules)
    for _ in range(2):
        for width, bundle in bundles.items():
            loaded = load_bundle(bundle, num_classes=3, image_size=32)
            assert loaded.network[0].out_channels == width
            assert loaded.network(torch.zeros(2, 3, 32, 32)).shape == (2, 3)
    assert verify_bundle(bundles[8], num_classes=3, image_size=32) == []
    assert sys.path == path_before
    assert not {name for name in set(sys.modules) - modules_before if name.startswith("scripts")}


def test_a_module_of_the_same_name_that_was_there_before_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine: Any = type(sys)("scripts")
    monkeypatch.setitem(sys.modules, "scripts", mine)
    load_bundle(with_scripts(tmp_path / "b", width=4), num_classes=3, image_size=32)
    assert sys.modules["scripts"] is mine


def test_a_configuration_in_json_is_read_too(tmp_path: Path) -> None:
    bundle = own_bundle(tmp_path / "own")
    train = bundle / "configs" / "train.yaml"
    train.with_suffix(".json").write_text(json.dumps(yaml.safe_load(train.read_text(encoding="utf-8"))))
    train.unlink()
    assert verify_bundle(bundle, num_classes=4, image_size=32) == []
    (bundle / "configs" / "train.json").write_text("{")
    assert "train.json: not a MONAI configuration" in verify_bundle(bundle, num_classes=4, image_size=32)[0]
