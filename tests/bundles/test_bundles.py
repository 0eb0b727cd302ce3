"""The built-in bundles: what MONAI asks of them, and what a federation asks of them."""

import json
import math
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from fakes.schema import SCHEMA
from fakes.small_federation import draw, write_federation
from PIL import Image

from mdhfl.files import shipped_folder
from mdhfl.learning.bundle import LoadedBundle, built_in_bundles, load_bundle
from mdhfl.learning.model import Model
from mdhfl.learning.private_training import why_not_private
from mdhfl.learning.training import fit

NAMES = built_in_bundles()
CONFIGS = ("train.yaml", "evaluate.yaml", "inference.yaml")


def configs(name: str) -> Path:
    return shipped_folder("bundles") / name / "configs"


def read(name: str, config: str) -> dict:
    return dict(yaml.safe_load((configs(name) / config).read_text(encoding="utf-8")))


def metadata(name: str) -> dict:
    return dict(json.loads((configs(name) / "metadata.json").read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def loaded() -> dict[str, LoadedBundle]:
    return {name: load_bundle(name, num_classes=5, image_size=32) for name in NAMES}


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    pixels = draw(1, random=np.random.default_rng(0), size=32)
    path = tmp_path_factory.mktemp("picture") / "cell.png"
    Image.fromarray(pixels).save(path)
    return path, pixels


@pytest.mark.parametrize("name", NAMES)
def test_inference_uses_the_network_and_the_scaling_of_training(name: str) -> None:
    train, inference = read(name, "train.yaml"), read(name, "inference.yaml")
    for key in ("network_def", "intensity_transform", "num_classes", "image_size"):
        assert inference[key] == train[key], key


@pytest.mark.parametrize("name", NAMES)
def test_metadata_names_the_classes_of_the_13_class_space(name: str) -> None:
    space = json.loads((shipped_folder("meta") / "label_spaces" / "cytomorphology13.json").read_text(encoding="utf-8"))
    channels = metadata(name)["network_data_format"]["outputs"]["pred"]["channel_def"]
    assert list(channels.values()) == space["classes"]


@pytest.mark.parametrize("name", NAMES)
def test_monai_verifies_the_metadata_without_network(name: str) -> None:
    from monai.bundle import verify_metadata

    verify_metadata(meta_file=str(configs(name) / "metadata.json"), filepath=str(SCHEMA))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("config", ["train.yaml", "inference.yaml"])
def test_monai_verifies_what_goes_into_and_comes_out_of_the_network(name: str, config: str) -> None:
    from monai.bundle import verify_net_in_out

    verify_net_in_out(
        net_id="network_def",
        meta_file=str(configs(name) / "metadata.json"),
        config_file=str(configs(name) / config),
        device="cpu",
    )


@pytest.mark.parametrize("name", NAMES)
def test_images_are_plain_uint8_tensors_of_the_file_s_pixels(
    name: str, loaded: dict[str, LoadedBundle], picture: tuple[Path, np.ndarray]
) -> None:
    path, pixels = picture
    image = loaded[name].deterministic_transforms({"image": str(path)})["image"]
    assert type(image) is torch.Tensor
    assert image.dtype == torch.uint8
    np.testing.assert_array_equal(image.permute(1, 2, 0).numpy(), pixels)


def test_random_transforms_give_the_eight_symmetries_about_equally_often(
    loaded: dict[str, LoadedBundle], picture: tuple[Path, np.ndarray]
) -> None:
    bundle = loaded["shufflenet_v2"]
    image = bundle.deterministic_transforms({"image": str(picture[0])})["image"]
    assert bundle.random_transforms is not None
    bundle.random_transforms.set_random_state(seed=0)
    draws = [bundle.random_transforms({"image": image})["image"] for _ in range(1600)]
    assert all(type(one) is torch.Tensor and one.dtype == torch.uint8 for one in draws)
    counts: dict[bytes, int] = {}
    for one in draws:
        counts[one.numpy().tobytes()] = counts.get(one.numpy().tobytes(), 0) + 1
    pixels = image.numpy()
    turned = [np.rot90(flipped, k, axes=(1, 2)) for flipped in (pixels, pixels[:, ::-1]) for k in range(4)]
    assert set(counts) == {np.ascontiguousarray(one).tobytes() for one in turned}
    assert min(counts.values()) > 150  # 200 expected, standard deviation 13


def test_random_transforms_repeat_with_their_seed(
    loaded: dict[str, LoadedBundle], picture: tuple[Path, np.ndarray]
) -> None:
    bundle = loaded["resnet10"]
    image = bundle.deterministic_transforms({"image": str(picture[0])})["image"]

    def drawn() -> list[torch.Tensor]:
        assert bundle.random_transforms is not None
        bundle.random_transforms.set_random_state(seed=7)
        return [bundle.random_transforms({"image": image})["image"] for _ in range(20)]

    assert all(torch.equal(one, other) for one, other in zip(drawn(), drawn(), strict=True))


def test_intensities_are_scaled_elementwise_and_plainly(loaded: dict[str, LoadedBundle]) -> None:
    scaled = loaded["mobilenet_v2"].intensity_transform(torch.tensor([[0, 51], [204, 255]], dtype=torch.uint8))
    assert type(scaled) is torch.Tensor
    assert scaled.dtype == torch.float32
    torch.testing.assert_close(scaled, torch.tensor([[-1.0, -0.6], [0.6, 1.0]]))


def test_scaled_batches_stay_in_channels_last(loaded: dict[str, LoadedBundle]) -> None:
    images = torch.randint(0, 256, (4, 3, 8, 8), dtype=torch.uint8)
    for bundle in loaded.values():
        scaled = bundle.intensity_transform(images.contiguous(memory_format=torch.channels_last))
        assert scaled.is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(scaled, bundle.intensity_transform(images))


def test_transforms_leave_monai_s_global_switch_alone(
    loaded: dict[str, LoadedBundle], picture: tuple[Path, np.ndarray]
) -> None:
    from monai.data import get_track_meta

    before = get_track_meta()
    image = loaded["resnet12"].deterministic_transforms({"image": str(picture[0])})
    assert loaded["resnet12"].random_transforms is not None
    loaded["resnet12"].random_transforms(image)
    assert get_track_meta() == before


def test_decoding_can_be_sent_to_worker_processes(loaded: dict[str, LoadedBundle]) -> None:
    pickle.dumps(loaded["shufflenet_v2"].deterministic_transforms)


@pytest.mark.parametrize("name", NAMES)
def test_initial_weights_follow_torch_s_seed(name: str) -> None:
    def weights(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        network = load_bundle(name, num_classes=3, image_size=32).network
        return torch.cat([parameter.detach().flatten() for parameter in network.parameters()])

    assert torch.equal(weights(0), weights(0))
    assert not torch.equal(weights(0), weights(1))


@pytest.mark.parametrize("name", NAMES)
def test_a_bundle_trains_for_one_epoch_on_16_images(name: str, loaded: dict[str, LoadedBundle]) -> None:
    bundle, random = loaded[name], np.random.default_rng(0)
    images = np.stack([draw(i % 3, random=random, size=32) for i in range(16)]).transpose(0, 3, 1, 2)
    before = [parameter.detach().clone() for parameter in bundle.network.parameters()]
    loss = fit(
        bundle.network.to(memory_format=torch.channels_last),
        optimizer=bundle.optimizer,
        images=torch.from_numpy(np.ascontiguousarray(images)),
        targets=torch.arange(16) % 3,
        loss=torch.nn.functional.cross_entropy,
        epochs=1,
        batch_size=8,
        intensity=bundle.intensity_transform,
        augment=bundle.random_transforms.batch,
        generator=torch.Generator().manual_seed(0),
    )
    assert loss is not None
    assert math.isfinite(loss)
    assert any(not torch.equal(a, b) for a, b in zip(before, bundle.network.parameters(), strict=True))


@pytest.mark.parametrize(
    ("name", "architecture", "small", "large"),
    [
        ("shufflenet_v2", "ShuffleNetV2 x1.0", 0.11, 1.26),
        ("resnet10", "ResNet10", 0.31, 4.90),
        ("mobilenet_v2", "MobileNetV2", 0.20, 2.23),
        ("resnet12", "ResNet12", 0.31, 4.98),
        ("efficientnet_lite0", "EfficientNet-Lite0, ImageNet weights", 3.38, 3.38),
    ],
)
def test_architecture_and_millions_of_parameters(name: str, architecture: str, small: float, large: float) -> None:
    for size, millions in ((32, small), (96, small), (128, large), (288, large)):
        bundle = load_bundle(name, num_classes=5, image_size=size)
        assert bundle.architecture == architecture
        assert bundle.parameters / 1e6 == pytest.approx(millions, abs=0.01), size


@pytest.mark.parametrize("size", [32, 288])
@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith("_group")])
def test_a_group_variant_is_the_same_network_but_for_its_normalisation(name: str, size: int) -> None:
    """The same layers and initial weights; DP-SGD can train what does not add in place."""
    torch.manual_seed(0)
    plain = load_bundle(name.removesuffix("_group"), num_classes=5, image_size=size)
    torch.manual_seed(0)
    group = load_bundle(name, num_classes=5, image_size=size)
    layers = {layer: dict(one.network.named_modules()) for layer, one in (("plain", plain), ("group", group))}
    assert list(layers["plain"]) == list(layers["group"])
    for place, layer in layers["plain"].items():
        other = layers["group"][place]
        if isinstance(layer, torch.nn.BatchNorm2d):
            assert isinstance(other, torch.nn.GroupNorm)
            assert (other.num_channels, other.num_groups > 1) == (layer.num_features, True)
        else:
            assert type(other) is type(layer)
        if isinstance(layer, torch.nn.Conv2d):
            assert torch.equal(layer.weight, other.weight)  # type: ignore[arg-type]
    why = why_not_private(Model(bundle=group, image_size=size, num_classes=5))
    assert ("modified inplace" in why) if name.startswith("resnet") else not why


@pytest.mark.parametrize("size", [32, 48, 64, 96, 128, 288])
@pytest.mark.parametrize("name", NAMES)
def test_the_last_feature_map_has_at_least_3_x_3_places(name: str, size: int) -> None:
    bundle = load_bundle(name, num_classes=5, image_size=size)
    maps: list[tuple[int, ...]] = []
    for layer in bundle.network.modules():
        if isinstance(layer, torch.nn.Conv2d):
            layer.register_forward_hook(lambda _layer, _given, out: maps.append(tuple(out.shape[2:])))
    with torch.inference_mode():
        bundle.network.eval()(torch.zeros(1, 3, size, size))
    assert min(maps[-1]) >= 3


@pytest.mark.slow
def test_a_bundle_trains_and_evaluates_with_monai_alone(tmp_path: Path) -> None:
    federation = write_federation(tmp_path / "fed", sites=["site-1"], training=16, testing=6, public=2)
    bundle = tmp_path / "shufflenet_v2"
    shutil.copytree(shipped_folder("bundles") / "shufflenet_v2", bundle)
    data = ["--bundle_root", ".", "--dataset_dir", str(federation / "sites" / "site-1"), "--num_classes", "3"]
    log = monai_run(bundle, "configs/train.yaml", *data, "--epochs", "1")
    assert "accuracy" in log
    state = torch.load(bundle / "models" / "model.pt", weights_only=True)
    Model.open(bundle, num_classes=3, image_size=32, weights=bundle / "models" / "model.pt")
    assert all(isinstance(value, torch.Tensor) for value in state.values())
    monai_run(bundle, "['configs/train.yaml','configs/evaluate.yaml']", *data)
    name, value = (bundle / "eval" / "metrics.csv").read_text(encoding="utf-8").strip().split(",")
    assert name == "accuracy"
    assert float(value) in [pytest.approx(right / 6) for right in range(7)]


def monai_run(bundle: Path, config: str, *arguments: str) -> str:
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", config, *arguments]
    done = subprocess.run(command, cwd=bundle, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout + done.stderr
