"""A MONAI bundle as a federation needs it: network, optimiser, batch size and transforms, from its train.yaml.

A bundle's configuration is evaluated: a bundle from elsewhere is code. Built-in bundles go by their names, others only
by an explicit path.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mdhfl import resources

if TYPE_CHECKING:
    import torch

REQUIRED = ("network_def", "optimizer", "batch_size", "deterministic_transforms", "intensity_transform")


class BundleError(ValueError):
    """A bundle that cannot be used; the message names it, what was expected and the way out."""


@dataclass(frozen=True, kw_only=True)
class LoadedBundle:
    """What a bundle brings to a federation.

    Attributes:
        name: the bundle's folder name.
        architecture: as its metadata says, else the network's class.
        parameters: how many the network has.
        network: on the CPU.
        optimizer: bound to the network's parameters.
        batch_size: images in a training batch.
        deterministic_transforms: {"image": path} -> {"image": (3, S, S) uint8 tensor}; its results are cached.
        random_transforms: {"image": (3, S, S) uint8} -> the same, at random; None if the bundle has none.
        intensity_transform: elementwise, (B, 3, S, S) uint8 -> float.
    """

    name: str
    architecture: str
    parameters: int
    network: "torch.nn.Module"
    optimizer: "torch.optim.Optimizer"
    batch_size: int
    deterministic_transforms: Callable[[dict[str, Any]], Any]
    random_transforms: Any
    intensity_transform: Callable[[Any], Any]


def find_bundle(name_or_path: str | Path) -> Path:
    """Return a bundle's folder: a built-in one by its name, any other by its path.

    Raises:
        BundleError: there is no such bundle.
    """
    built_in = resources.folder("bundles")
    names = sorted(folder.name for folder in built_in.iterdir() if (folder / "configs").is_dir())
    if str(name_or_path) in names:
        return built_in / str(name_or_path)
    path = Path(name_or_path)
    if not (path / "configs" / "train.yaml").is_file():
        raise BundleError(
            f"no bundle {str(name_or_path)!r}: expected one of {', '.join(names)}, or the path of a folder with "
            "configs/train.yaml"
        )
    return path.resolve()


def load_bundle(
    name_or_path: str | Path, *, num_classes: int, image_size: int, weights: Path | None = None
) -> LoadedBundle:
    """Build a bundle's network, optimiser and transforms. Initial weights come from torch's global generator.

    Args:
        name_or_path: see `find_bundle`.
        num_classes: C.
        image_size: S in pixels.
        weights: a state_dict to start from.

    Raises:
        BundleError: the bundle is missing, incomplete, gives another number of classes, or cannot take the size.
    """
    from monai.bundle import ConfigParser
    from monai.transforms import Compose

    folder = find_bundle(name_or_path)
    try:
        parser = ConfigParser()
        parser.read_config(str(folder / "configs" / "train.yaml"))
        missing = [key for key in REQUIRED if key not in parser.get()]
        if missing:
            raise BundleError(f"bundle {folder}: configs/train.yaml lacks {', '.join(missing)}; see CONTRIBUTING.md")
        parser["num_classes"], parser["image_size"], parser["device"] = num_classes, image_size, "cpu"
        parser["network"] = "$@network_def"
        if "imports" in parser.get():
            parser.get_parsed_content("imports")
        network = parser.get_parsed_content("network")
        optimizer = parser.get_parsed_content("optimizer")
        deterministic = Compose(parser.get_parsed_content("deterministic_transforms"))
        random = parser.get_parsed_content("random_transforms") if parser.get("random_transforms") else None
        intensity = parser.get_parsed_content("intensity_transform")
        batch_size = int(parser.get_parsed_content("batch_size"))
    except BundleError:
        raise
    except Exception as error:
        raise BundleError(f"bundle {folder}: configs/train.yaml cannot be built ({error})") from error
    _check_output(folder, network, num_classes=num_classes, image_size=image_size, intensity=intensity)
    if weights is not None:
        _load_weights(network, weights)
    return LoadedBundle(
        name=folder.name,
        architecture=folder.name,
        parameters=sum(p.numel() for p in network.parameters()),
        network=network,
        optimizer=optimizer,
        batch_size=batch_size,
        deterministic_transforms=deterministic,
        random_transforms=Compose(random) if random else None,
        intensity_transform=intensity,
    )


def _check_output(
    folder: Path, network: "torch.nn.Module", *, num_classes: int, image_size: int, intensity: Callable[[Any], Any]
) -> None:
    import torch

    network.eval()
    try:
        with torch.inference_mode():
            out = network(intensity(torch.zeros((2, 3, image_size, image_size), dtype=torch.uint8)))
    except Exception as error:
        raise BundleError(f"bundle {folder.name}: cannot take images of {image_size} px ({error})") from error
    if tuple(out.shape) != (2, num_classes):
        raise BundleError(
            f"bundle {folder.name}: expected answers for {num_classes} classes, got shape {tuple(out.shape)}; does its "
            "network_def use @num_classes?"
        )


def _load_weights(network: "torch.nn.Module", weights: Path) -> None:
    import torch

    network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))


def verify_bundle(name_or_path: str | Path, *, num_classes: int, image_size: int) -> list[str]:
    """Return what is wrong with a bundle, in words; nothing if it can be used."""
    try:
        load_bundle(name_or_path, num_classes=num_classes, image_size=image_size)
    except BundleError as error:
        return [str(error)]
    return []
