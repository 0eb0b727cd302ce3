"""A site's own bundle, and everything that can be wrong with one: one clear message each."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from mdhfl.files import shipped_folder
from mdhfl.learning.bundle import BundleError, built_in_bundles, find_bundle, load_bundle
from mdhfl.learning.bundle_check import verify_bundle


def own_bundle(path: Path, **changes: object) -> Path:
    """Copy a built-in bundle and change top-level entries of its train.yaml; None removes one."""
    shutil.copytree(shipped_folder("bundles") / "shufflenet_v2", path)
    config = yaml.safe_load((path / "configs" / "train.yaml").read_text(encoding="utf-8"))
    config.update(changes)
    kept = {key: value for key, value in config.items() if value is not None or key == "weights"}
    (path / "configs" / "train.yaml").write_text(yaml.safe_dump(kept, sort_keys=False), encoding="utf-8")
    return path


LINEAR = "$torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, @num_classes))"  # for 32 px only


def error_of(path: Path, *, num_classes: int = 4, image_size: int = 32) -> str:
    problems = verify_bundle(path, num_classes=num_classes, image_size=image_size)
    assert len(problems) == 1
    assert "\n" not in problems[0]
    return problems[0]


def test_a_bundle_of_one_s_own_works_the_same_way(tmp_path: Path) -> None:
    network = {
        "_target_": "monai.networks.nets.DenseNet",
        "spatial_dims": 2,
        "in_channels": 3,
        "out_channels": "@num_classes",
        "init_features": 8,
        "growth_rate": 4,
        "block_config": [1, 1],
    }
    # transforms as in MONAI's tutorials: they ask the image's metadata for its channels, and give a MetaTensor
    loading = [
        {"_target_": "LoadImaged", "keys": "image", "dtype": "$numpy.uint8"},
        {"_target_": "EnsureChannelFirstd", "keys": "image"},
    ]
    path = own_bundle(
        tmp_path / "my_net", network_def=network, deterministic_transforms=loading, random_transforms=None
    )
    (path / "configs" / "metadata.json").unlink()
    bundle = load_bundle(path, num_classes=4, image_size=24)
    assert (bundle.name, bundle.architecture, bundle.random_transforms) == ("my_net", "my_net", None)
    assert bundle.network(torch.zeros(2, 3, 24, 24)).shape == (2, 4)
    Image.fromarray(np.zeros((24, 24, 3), np.uint8)).save(tmp_path / "image.png")
    image = bundle.deterministic_transforms({"image": str(tmp_path / "image.png")})["image"]
    assert type(image) is torch.Tensor
    assert (image.dtype, tuple(image.shape)) == (torch.uint8, (3, 24, 24))


@pytest.mark.parametrize("name", built_in_bundles())
def test_built_in_bundles_are_found_by_name(name: str) -> None:
    assert find_bundle(name) == shipped_folder("bundles") / name
    assert verify_bundle(name, num_classes=2, image_size=48) == []


def test_an_unknown_name_lists_the_built_in_ones() -> None:
    with pytest.raises(BundleError, match=f"'resnet99'.*{', '.join(built_in_bundles())}.*path"):
        find_bundle("resnet99")


def test_a_folder_without_configuration_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"has no configs/train\.yaml"):
        find_bundle(tmp_path)


@pytest.mark.parametrize("key", ["network_def", "optimizer", "batch_size", "intensity_transform"])
def test_a_missing_key_is_named(tmp_path: Path, key: str) -> None:
    assert f"lacks {key}" in error_of(own_bundle(tmp_path / "own", **{key: None}))


def test_another_number_of_classes(tmp_path: Path) -> None:
    path = own_bundle(tmp_path / "own", network_def={"_target_": "torchvision.models.shufflenet_v2_x1_0"})
    message = error_of(path)
    assert "(2, 4)" in message
    assert "(2, 1000)" in message
    assert "@num_classes" in message


def test_an_image_size_that_the_network_cannot_take(tmp_path: Path) -> None:
    path = own_bundle(tmp_path / "own", network_def=LINEAR)
    assert verify_bundle(path, num_classes=4, image_size=32) == []
    message = error_of(path, image_size=48)
    assert "48 x 48" in message
    assert "--image-size" in message


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"network_def": {"_target_": "no_such_package.Net"}}, "network cannot be built"),
        ({"optimizer": {"_target_": "torch.optim.Adam", "params": "$@network.parameters()", "lr": -1}}, "optimizer"),
        ({"batch_size": "many"}, "batch_size: expected a whole number of at least 2, got 'many'"),
        ({"batch_size": 1}, "batch_size: expected a whole number of at least 2, got 1"),
        ({"deterministic_transforms": "none"}, "expected a list of transforms"),
        ({"random_transforms": [{"_target_": "RandNoSuchThing"}]}, "random_transforms cannot be built"),
    ],
)
def test_what_cannot_be_built_is_named(tmp_path: Path, changes: dict, told: str) -> None:
    assert told in error_of(own_bundle(tmp_path / "own", **changes))


def test_a_configuration_that_is_not_yaml(tmp_path: Path) -> None:
    path = own_bundle(tmp_path / "own")
    (path / "configs" / "train.yaml").write_text("network_def: [1, 2\n", encoding="utf-8")
    assert "not a MONAI configuration" in error_of(path)


def test_metadata_that_is_not_json(tmp_path: Path) -> None:
    path = own_bundle(tmp_path / "own")
    (path / "configs" / "metadata.json").write_text("{", encoding="utf-8")
    assert "not valid JSON" in error_of(path)


def test_packages_that_a_bundle_needs_are_named(tmp_path: Path) -> None:
    path = own_bundle(tmp_path / "own", network_def={"_target_": "no_such_package.Net"})
    metadata = json.loads((path / "configs" / "metadata.json").read_text(encoding="utf-8"))
    metadata["required_packages_version"]["no-such-package"] = "1.0"
    (path / "configs" / "metadata.json").write_text(json.dumps(metadata), encoding="utf-8")
    assert error_of(path).endswith("packages that are not installed: pip install no-such-package")


def test_importing_the_module_is_cheap() -> None:
    code = "import sys, mdhfl.learning.bundle; print(json.dumps([m for m in ('torch', 'monai') if m in sys.modules]))"
    done = subprocess.run(
        [sys.executable, "-c", f"import json; {code}"], capture_output=True, text=True, timeout=60, check=True
    )
    assert json.loads(done.stdout) == []


def test_a_batch_is_transformed_as_its_images_one_by_one() -> None:
    loaded = load_bundle("resnet10", num_classes=3, image_size=32)
    transforms = loaded.random_transforms
    images = torch.randint(0, 255, (24, 3, 32, 32), dtype=torch.uint8)
    transforms.set_random_state(seed=5)
    one_by_one = torch.stack([transforms({"image": image})["image"] for image in images])
    transforms.set_random_state(seed=5)
    batch = transforms.batch(images)
    assert torch.equal(batch, one_by_one)
    assert type(batch) is torch.Tensor
    assert not torch.equal(batch, images)
