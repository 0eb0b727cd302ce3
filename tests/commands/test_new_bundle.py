"""`mdhfl new-bundle`: what it writes can be checked, trained, exported and verified by MONAI; the rest is not there."""

import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from fakes.schema import SCHEMA
from fakes.simulated import new_run

from mdhfl.commands.new_bundle import new_bundle_command
from mdhfl.export.bundle import export_bundle
from mdhfl.learning.bundle import load_bundle
from mdhfl.runs.inprocess import run_in_process

DENSE = ("DenseNet", "--set", "init_features=8", "--set", "growth_rate=4", "--set", "block_config=[1, 1]")


def new_bundle(out: Path, *arguments: str) -> str:
    done = CliRunner().invoke(new_bundle_command, [*arguments, "--out", str(out)])
    if done.exception is not None:
        raise done.exception
    return done.output


@pytest.mark.parametrize(
    ("arguments", "network"),
    [
        (DENSE, {"spatial_dims": 2, "in_channels": 3, "out_channels": "@num_classes", "init_features": 8}),
        (("squeezenet1_1", "--from", "torchvision.models"), {"weights": None, "num_classes": "@num_classes"}),
        (("EfficientNetBN", "--set", "model_name=efficientnet-b0"), {"pretrained": False, "in_channels": 3}),
    ],
)
def test_a_library_s_network_becomes_a_bundle(tmp_path: Path, arguments: tuple[str, ...], network: dict) -> None:
    from monai.bundle import verify_metadata

    out = tmp_path / "bundles" / "mine"
    assert f"mdhfl check {out}" in new_bundle(out, *arguments)
    train, inference = (yaml.safe_load((out / "configs" / f"{n}.yaml").read_text()) for n in ("train", "inference"))
    assert train["network_def"] == inference["network_def"]
    assert network.items() <= train["network_def"].items()
    assert load_bundle(out, num_classes=5, image_size=32).architecture == arguments[0]
    verify_metadata(meta_file=str(out / "configs" / "metadata.json"), filepath=str(SCHEMA))


@pytest.mark.slow
def test_it_trains_in_a_federation_and_is_exported(tmp_path: Path, federation: Path) -> None:
    new_bundle(tmp_path / "dense", *DENSE)
    experiment = new_run(tmp_path / "run", federation, rounds=1, bundles=("shufflenet_v2", str(tmp_path / "dense")))
    run_in_process(tmp_path / "run", experiment=experiment)
    out = export_bundle(tmp_path / "run", site=experiment.sites[1], out=tmp_path / "exported", which="last")
    metadata = json.loads((out / "configs" / "metadata.json").read_text())
    assert metadata["architecture"] == "DenseNet"
    assert load_bundle(out, num_classes=len(experiment.classes), image_size=32).architecture == "DenseNet"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("NoSuchNet",), "expected a module with a network 'NoSuchNet', got AttributeError"),
        (("DenseNet121", "--from", "no.such.module"), "expected a module with a network 'DenseNet121'"),
        (("ViT",), "missing 2 required positional arguments.*--set"),
        (("UNet", "--set", "channels"), "--set: expected NAME=VALUE, got 'channels'"),
        (("googlenet", "--from", "torchvision.models"), "auxiliary outputs"),
        (("Conv2d", "--from", "torch.nn"), r"cannot be built \(TypeError"),
    ],
)
def test_what_cannot_be_used_is_not_written(tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        new_bundle(tmp_path / "mine", *arguments)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    with pytest.raises(ValueError, match="exists already"):
        new_bundle(tmp_path / "mine", *DENSE)


def test_a_run_refuses_a_bundle_that_cannot_train(tmp_path: Path, federation: Path) -> None:
    new_bundle(tmp_path / "mine", *DENSE)
    path = tmp_path / "mine" / "configs" / "train.yaml"
    path.write_text(path.read_text().replace("ScaleIntensityRange", "ScaleIntensity").replace("  a_min: 0\n", ""))
    path.write_text(path.read_text().replace("  a_max: 255\n", "").replace("b_min", "minv").replace("b_max", "maxv"))
    with pytest.raises(ValueError, match="bundle mine: intensity_transform: expected one that maps each pixel"):
        new_run(tmp_path / "run", federation, bundles=("resnet10", str(tmp_path / "mine")))
    assert not (tmp_path / "run" / "experiment.json").exists()
