"""A MONAI bundle as a federation needs it: network, optimiser, batch size and transforms, from its train.yaml.

A bundle's configuration is evaluated: a bundle from elsewhere is code. Built-in bundles go by their names, others only
by an explicit path. Importing this module is cheap: monai and torch are imported where a bundle is loaded.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from mdhfl.files import shipped_folder
from mdhfl.learning.bundle_changes import changed_config
from mdhfl.learning.own_code import own_code

if TYPE_CHECKING:
    import torch
    from monai.bundle import ConfigParser

    from mdhfl.learning.transforms import PlainTransforms

TRAIN_CONFIG = Path("configs") / "train.yaml"
TRAIN_CONFIGS = (TRAIN_CONFIG, TRAIN_CONFIG.with_suffix(".yml"), TRAIN_CONFIG.with_suffix(".json"))  # first counts
METADATA = Path("configs") / "metadata.json"
NO_CHANGES: Mapping[str, Any] = MappingProxyType({})
REQUIRED = ("network_def", "optimizer", "batch_size", "deterministic_transforms", "intensity_transform")


class BundleError(ValueError):
    """A bundle that cannot be used; the message names it, what was expected and the way out."""


@dataclass(frozen=True, kw_only=True)
class LoadedBundle:
    """What a bundle brings to a federation.

    Attributes:
        name: the bundle's folder name.
        architecture: as its metadata says, else the folder's name.
        parameters: how many the network has.
        network: on the CPU.
        optimizer: bound to the network's parameters.
        batch_size: images in a training batch.
        deterministic_transforms: {"image": path} -> {"image": (3, S, S) uint8 tensor}; its results are cached.
        decoding: 16 hexadecimal digits that identify the deterministic transforms.
        random_transforms: {"image": (3, S, S) uint8} -> the same, at random; None if the bundle has none.
        intensity_transform: elementwise, (B, 3, S, S) uint8 -> float.
    """

    name: str
    architecture: str
    parameters: int
    network: "torch.nn.Module"
    optimizer: "torch.optim.Optimizer"
    batch_size: int
    deterministic_transforms: Callable[[dict[str, Any]], dict[str, Any]]
    decoding: str
    random_transforms: "PlainTransforms | None"
    intensity_transform: Callable[[Any], Any]


def built_in_bundles() -> list[str]:
    """Return the names of the bundles that ship with mdhfl."""
    return sorted(path.name for path in shipped_folder("bundles").iterdir() if (path / TRAIN_CONFIG).is_file())


def find_bundle(name_or_path: str | Path) -> Path:
    """Return a bundle's folder: a built-in one by its name, any other by its path.

    Raises:
        BundleError: there is no such bundle.
    """
    names = built_in_bundles()
    if str(name_or_path) in names:
        return shipped_folder("bundles") / str(name_or_path)
    path = Path(name_or_path)
    if train_config(path) is None:
        what = f"{path} has no {TRAIN_CONFIG} or .json" if path.is_dir() else f"no bundle {str(name_or_path)!r}"
        raise BundleError(
            f"{what}: expected one of {', '.join(names)}, or the path of a folder with {TRAIN_CONFIG}; "
            "`mdhfl new-bundle` makes one"
        )
    return path.resolve()


def train_config(folder: Path) -> Path | None:
    """Return the path of a bundle's training configuration, None if it has none."""
    return next((folder / name for name in TRAIN_CONFIGS if (folder / name).is_file()), None)


def load_bundle(
    name_or_path: str | Path, *, num_classes: int, image_size: int, changes: Mapping[str, Any] = NO_CHANGES
) -> LoadedBundle:
    """Build a bundle's network, optimiser and transforms. Initial weights come from torch's global generator.

    Args:
        name_or_path: see `find_bundle`.
        num_classes: C.
        image_size: S in pixels.
        changes: of its training, see `bundle_changes.py`.

    Raises:
        BundleError: the bundle is missing, incomplete, gives another number of classes, or cannot take the size.
    """
    folder = find_bundle(name_or_path)
    with own_code(folder):
        return _load(folder, num_classes=num_classes, image_size=image_size, changes=changes)


def _load(folder: Path, *, num_classes: int, image_size: int, changes: Mapping[str, Any]) -> LoadedBundle:
    from mdhfl.learning.transforms import PlainTransforms, TransformError

    parser = _read_config(folder, changes)
    parser["num_classes"], parser["image_size"] = num_classes, image_size
    parser["device"], parser["network"] = "$torch.device('cpu')", "$@network_def"
    network = _build(parser, "network", folder=folder)
    optimizer = _build(parser, "optimizer", folder=folder)
    intensity = _build(parser, "intensity_transform", folder=folder)
    batch_size = _build(parser, "batch_size", folder=folder)
    if not isinstance(batch_size, int) or batch_size < 2:
        raise BundleError(f"{_place(folder)}: batch_size: expected a whole number of at least 2, got {batch_size!r}")
    try:
        deterministic = PlainTransforms(_build(parser, "deterministic_transforms", folder=folder), track_meta=True)
        random = _build(parser, "random_transforms", folder=folder) if "random_transforms" in parser else None
        augment = PlainTransforms(random, track_meta=False) if random else None
    except TransformError as error:
        raise BundleError(f"{_place(folder)}: {error}") from error
    elementwise = _without_meta(intensity)
    _check_network(network, folder=folder, num_classes=num_classes, image_size=image_size, intensity=elementwise)
    return LoadedBundle(
        name=folder.name,
        architecture=architecture_of(folder),
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        network=network,
        optimizer=optimizer,
        batch_size=batch_size,
        deterministic_transforms=deterministic,
        decoding=_decoding(parser),
        random_transforms=augment,
        intensity_transform=elementwise,
    )


def architecture_of(folder: Path) -> str:
    """Return the architecture that a bundle's metadata names, else the folder's name."""
    return str(_metadata(folder).get("architecture", folder.name))


def missing_packages(folder: Path) -> list[str]:
    """Return the packages that a bundle's metadata requires and that are not installed."""
    from importlib.metadata import PackageNotFoundError, version

    missing = []
    for package in _metadata(folder).get("required_packages_version", {}):
        try:
            version(package)
        except PackageNotFoundError:
            missing.append(package)
    return missing


def _metadata(folder: Path) -> dict[str, Any]:
    import json

    path = folder / METADATA
    try:
        metadata = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise BundleError(f"{path}: not valid JSON ({error})") from error
    return metadata if isinstance(metadata, dict) else {}


def first_line(error: BaseException) -> str:
    """Return the innermost cause of an error as one line of at most 200 characters."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {' '.join(lines)}"[:200] if lines else type(error).__name__


def _place(folder: Path) -> str:
    return f"bundle {folder.name}: {train_config(folder)}"


def _read_config(folder: Path, changes: Mapping[str, Any]) -> "ConfigParser":
    from monai.bundle import ConfigParser

    parser = ConfigParser()
    try:
        parser.read_config(str(train_config(folder)))
    except Exception as error:  # whatever the YAML reader raises
        raise BundleError(f"{_place(folder)}: not a MONAI configuration ({first_line(error)})") from error
    missing = [key for key in REQUIRED if key not in parser]
    if missing:
        raise BundleError(
            f"{_place(folder)}: expected {', '.join(REQUIRED)}, lacks {', '.join(missing)}; see "
            f"{shipped_folder('bundles') / built_in_bundles()[0] / TRAIN_CONFIG}"
        )
    try:
        parser.set(changed_config(parser.get(), changes))
    except ValueError as error:
        raise BundleError(f"{_place(folder)}: {error}") from error
    return parser


def _decoding(parser: "ConfigParser") -> str:
    import hashlib
    import json

    written = json.dumps(parser.get("deterministic_transforms"), sort_keys=True, default=str)
    return hashlib.sha256(written.encode()).hexdigest()[:16]


def _build(parser: "ConfigParser", key: str, *, folder: Path) -> Any:
    try:
        return parser.get_parsed_content(key)
    except Exception as error:  # a bundle is code: it raises what it likes
        missing = missing_packages(folder)
        way_out = f"; its metadata asks for packages that are not installed: pip install {' '.join(missing)}"
        reason = f"{key} cannot be built ({first_line(error)}){way_out if missing else ''}"
        raise BundleError(f"{_place(folder)}: {reason}") from error


def _without_meta(transform: Callable[[Any], Any]) -> Callable[[Any], Any]:
    from mdhfl.learning.transforms import WithoutMeta

    return WithoutMeta(transform)


def _check_network(
    network: "torch.nn.Module",
    *,
    folder: Path,
    num_classes: int,
    image_size: int,
    intensity: Callable[[Any], Any],
) -> None:
    """Show the network two black images; it keeps its state and torch's generator its own."""
    import torch

    if lazy := [name for name, one in network.named_parameters() if isinstance(one, torch.nn.UninitializedParameter)]:
        raise BundleError(
            f"bundle {folder.name}: network_def: expected layers of known size, got lazy ones ({', '.join(lazy[:3])}); "
            "give the number of inputs, which @image_size decides"
        )
    network.eval()
    try:
        with torch.inference_mode():
            out = network(intensity(torch.zeros((2, 3, image_size, image_size), dtype=torch.uint8)))
    except Exception as error:  # as above
        raise BundleError(
            f"bundle {folder.name}: expected a network that takes RGB images of {image_size} x {image_size} pixels, "
            f"got {first_line(error)}; prepare the federation with another --image-size, or give the site another "
            "bundle"
        ) from error
    shape = tuple(getattr(out, "shape", ()))
    if shape != (2, num_classes):
        raise BundleError(
            f"bundle {folder.name}: expected answers of shape (2, {num_classes}) for 2 images and {num_classes} "
            f"classes, got {shape or type(out).__name__}; let its network_def use @num_classes"
        )
