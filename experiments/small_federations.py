"""Small federations of real blood cells, and small networks for them, so that a run takes seconds.

Sites with 120 images each at 32 pixels, 20 % of the training labels wrong, a public set of another hospital.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mdhfl.learning.bundle import find_bundle
from mdhfl.preprocessing.arguments import PrepareArguments
from mdhfl.preprocessing.prepare import prepare

SPLITS: Mapping[str, Mapping[str, Any]] = {
    "0.5": {"split": "dirichlet", "alpha": 0.5},
    "0.1": {"split": "dirichlet", "alpha": 0.1},
    "IID": {"split": "iid"},
}
CONV = "torch.nn.Conv2d({0}, {1}, 3, padding=1), torch.nn.BatchNorm2d({1}), torch.nn.ReLU()"
NETWORKS = {  # name -> widths of its three convolutions, side of what is left of the image before the last layer
    "narrow": ((16, 32, 64), 1),
    "wide": ((24, 48, 48), 2),
}


def small_federation(split: str, *, seed: int, sites: int, data: Path, work: Path) -> Path:
    """Prepare a federation, or find it.

    Args:
        split: of SPLITS.
        seed: of everything.
        sites: how many.
        data: folder with the real images.
        work: folder for what is made on the way.
    """
    out = work / "federations" / f"{split}-{seed}-{sites}"
    out.parent.mkdir(parents=True, exist_ok=True)
    if not (out / "federation.json").is_file():
        prepare(
            PrepareArguments(
                source="acevedo20", raw=data / "acevedo20_64px.zip", label_space="acevedo8", public="matek19",
                public_raw=data / "matek19_tiles_108px.zip", public_count=120, sites=sites, per_site=120,
                validation=0.1, test=0.4, noise="symmetric", noise_rate=(0.2,), image_size=32, seed=seed, out=out,
                **SPLITS[split],
            ),
            workers=1,
        )  # fmt: skip
    return out


def with_flipped_labels(federation: Path, sites: Sequence[str]) -> Path:
    """Return a copy of a federation in which the training labels of some sites are the next class's."""
    out = federation.with_name(f"{federation.name}-flipped")
    if not out.exists():
        shutil.copytree(federation, out)
        classes = len(json.loads((out / "federation.json").read_text(encoding="utf-8"))["classes"])
        for site in sites:
            path = out / "sites" / site / "datalist.json"
            listed = json.loads(path.read_text(encoding="utf-8"))
            for item in listed["training"]:
                item["label"] = (item["label"] + 1) % classes
            path.write_text(json.dumps(listed), encoding="utf-8")
    return out


def bundles_in(folder: Path) -> tuple[str, ...]:
    """Write bundles of small networks, from a built-in one, and return their folders."""
    for name, (widths, side) in NETWORKS.items():
        if not (folder / name).exists():
            shutil.copytree(find_bundle("shufflenet_v2"), folder / name)
            path = folder / name / "configs" / "train.yaml"
            before, rest = path.read_text(encoding="utf-8").split("network_def:\n", 1)
            convs = [CONV.format(a, b) for a, b in zip((3, *widths[:-1]), widths, strict=True)]
            layers = ", torch.nn.MaxPool2d(2), ".join(convs)
            last = f"torch.nn.AdaptiveAvgPool2d({side}), torch.nn.Flatten()"
            network = f"{layers}, {last}, torch.nn.Linear({widths[-1] * side**2}, @num_classes)"
            text = f'network_def: "$torch.nn.Sequential({network})"\n{rest[rest.index("network:") :]}'
            path.write_text(before + text, encoding="utf-8")
    return tuple(str(folder / name) for name in NETWORKS)
