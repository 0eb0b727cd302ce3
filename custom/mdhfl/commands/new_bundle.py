"""`mdhfl new-bundle`: a bundle of a user's own architecture, made of a built-in one and checked before it is there."""

import inspect
import json
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import yaml

from mdhfl.files import shipped_folder
from mdhfl.showing.terminal import say

MODEL = "resnet10"  # the built-in bundle whose transforms and loops it gets
CONFIGS = ("train.yaml", "inference.yaml")
NETWORK_DEF = re.compile(r"(?ms)^network_def:.*?(?=^network:)")
CLASSES = ("num_classes", "out_channels", "n_classes", "classes")  # what libraries call the number of classes
CHANNELS = ("in_channels", "n_input_channels", "num_channels", "in_chans", "input_channels")
FIXED = {"spatial_dims": 2, "weights": None, "pretrained": False, "aux_logits": False}  # where a network takes them


@click.command(name="new-bundle", short_help="Make a bundle of an architecture from MONAI or torchvision.")
@click.argument("architecture")
@click.option("--from", "module", default="monai.networks.nets", show_default=True, help="Python module that has it.")
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="A new folder; its name becomes the bundle's."
)
@click.option(
    "--set", "pairs", multiple=True, metavar="NAME=VALUE", help="An argument of the architecture; repeatable."
)
@click.option("--classes", type=click.IntRange(min=2), default=13, show_default=True, help="To check it with.")
@click.option(
    "--image-size", type=click.IntRange(min=8), default=32, show_default=True, help="To check it with, pixels."
)
def new_bundle_command(
    *, architecture: str, module: str, out: Path, pairs: Sequence[str], classes: int, image_size: int
) -> None:
    """Write a MONAI bundle of ARCHITECTURE that a federation can use, and check it with a training step.

    \b
    Examples:
      mdhfl new-bundle DenseNet121 --out bundles/dense
      mdhfl new-bundle resnet18 --from torchvision.models --out bundles/resnet18
      mdhfl new-bundle EfficientNetBN --set model_name=efficientnet-b0 --out bundles/b0

    Then: mdhfl run mdhfl_plus --federation fed/ --bundles resnet10,bundles/dense --out runs/a
    """
    from mdhfl.learning.bundle_check import verify_bundle

    if out.exists():
        raise ValueError(f"{out}: exists already; give another --out or delete it")
    network = network_def(architecture, module=module, given=_values_of(pairs))
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as work:
        draft = Path(work) / out.name
        write_bundle(draft, architecture=architecture, network=network)
        if problems := verify_bundle(draft, num_classes=classes, image_size=image_size):
            raise ValueError(f"{'; '.join(problems)}. Not written; what the network takes can be given with --set")
        draft.rename(out)
    say(f"written: {out}")
    say(f"next: mdhfl check {out} --classes {classes} --image-size {image_size}")


def network_def(architecture: str, *, module: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return MONAI's definition of a network for RGB images and any number of classes.

    Args:
        architecture: a class or function.
        module: that has it.
        given: arguments that the caller wants.

    Raises:
        ValueError: there is no such module or network, or it takes no number of classes under a name that we know.
    """
    try:
        target: Callable[..., Any] = getattr(import_module(module), architecture)
        names = inspect.signature(target).parameters
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise ValueError(
            f"--from {module}: expected a module with a network {architecture!r}, got {type(error).__name__}: {error}"
        ) from error
    anything = any(one.kind is one.VAR_KEYWORD for one in names.values())
    classes = next((name for name in CLASSES if name in names), CLASSES[0] if anything else None)
    if classes is None and not set(given) & set(CLASSES):
        raise ValueError(
            f"{module}.{architecture}: expected an argument for the number of classes ({', '.join(CLASSES)}), it takes "
            f"{', '.join(names)}; give it with --set NAME=@num_classes"
        )
    found: dict[str, Any] = {name: value for name, value in FIXED.items() if name in names}
    found |= {name: 3 for name in CHANNELS if name in names}
    if anything and module.startswith("monai."):
        found |= {"spatial_dims": 2, "in_channels": 3}  # its ready-made variants pass them on
    found |= {classes: "@num_classes"} if classes is not None else {}
    return {"_target_": f"{module}.{architecture}", **found, **given}


def write_bundle(folder: Path, *, architecture: str, network: Mapping[str, Any]) -> None:
    """Write a bundle with this network, and the transforms and loops of a built-in one.

    Args:
        folder: to write; its name becomes the bundle's.
        architecture: for people.
        network: MONAI's definition.
    """
    shutil.copytree(shipped_folder("bundles") / MODEL, folder, ignore=shutil.ignore_patterns("__pycache__"))
    text = yaml.safe_dump({"network_def": dict(network)}, sort_keys=False)
    for name in CONFIGS:
        path = folder / "configs" / name
        path.write_text(NETWORK_DEF.sub(lambda _: text, path.read_text(encoding="utf-8")), encoding="utf-8")
    path = folder / "configs" / "metadata.json"
    metadata = json.loads(path.read_text(encoding="utf-8"))
    metadata |= {
        "name": folder.name,
        "version": "0.1.0",
        "changelog": {"0.1.0": "first version"},
        "architecture": architecture,
        "description": f"{network['_target_']} for square RGB images. Number of classes and image size are set from "
        "outside.",
        "authors": "not stated",
        "references": [],
    }
    path.write_text(json.dumps(metadata, indent=2) + "\n", encoding="utf-8")
    (folder / "docs" / "README.md").write_text(
        f"# {folder.name}\n\n{metadata['description']} Made with `mdhfl new-bundle`.\n", encoding="utf-8"
    )


def _values_of(pairs: Sequence[str]) -> dict[str, Any]:
    """Return NAME=VALUE pairs, their values as YAML reads them."""
    wrong = [pair for pair in pairs if not re.match(r"[A-Za-z_]\w*=", pair)]
    if wrong:
        raise ValueError(f"--set: expected NAME=VALUE, got {wrong[0]!r}")
    return {name: yaml.safe_load(value) for name, _, value in (pair.partition("=") for pair in pairs)}
