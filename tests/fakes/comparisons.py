"""A small comparison, for tests: two sites of drawn cells, three methods."""

from pathlib import Path
from typing import Any

import yaml

SMALL: dict[str, Any] = {
    "question": "Does it run?",
    "rounds": 1,
    "seeds": [0],
    "bundles": ["shufflenet_v2"],
    "set": {"warm_up_epochs": 1, "align_epochs": 1},
    "prepare": {
        "source": "synthetic", "sites": 2, "per_site": 16, "public": "synthetic", "public_count": 12,
        "classes": ["eosinophil", "monocyte"],
    },
    "federations": {"IID": {"split": "iid"}},
    "noise": {"none": {}, "symmetric 0.2": {"noise": "symmetric", "noise_rate": 0.2}},
    "methods": {"local CE": {"recipe": "local"}, "MDH-FL": {"recipe": "mdhfl"}, "FedAvg": {"recipe": "fedavg"}},
}  # fmt: skip


def written(folder: Path, **changes: Any) -> Path:
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump({**SMALL, **changes}, sort_keys=False))
    return path
