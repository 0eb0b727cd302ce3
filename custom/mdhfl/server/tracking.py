"""`tracking.json`: where a server sends the scores that it is told, beside TensorBoard's files; no job can say that."""

import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mdhfl.files import read_checked

TRACKERS = ("mlflow", "wandb")  # each an extra of mdhfl, and a package of its name
FILE = "tracking.json"


@dataclass(frozen=True, kw_only=True)
class Tracking:
    """What the operator of the server decides.

    Attributes:
        to: "mlflow" or "wandb".
        address: of MLflow's tracking server, or a folder as "file:///..."; empty for Weights & Biases, which has its
            own environment variables (WANDB_API_KEY, WANDB_BASE_URL, WANDB_MODE).
    """

    to: str
    address: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return plain values as in tracking.json."""
        return {"version": 1, "to": self.to, **({"address": self.address} if self.address else {})}


def read_tracking(path: Path) -> Tracking | None:
    """Read and check a tracking.json; None if there is none.

    Raises:
        ValueError: it is not JSON, or does not follow `meta/schemas/tracking.schema.json`.
    """
    if not path.exists():
        return None
    values = read_checked(path, schema="tracking", missing="")
    return Tracking(to=values["to"], address=values.get("address", ""))


def tracking_of_run(to: str) -> Tracking:
    """Return where a simulated run is tracked: the trackers' own environment variables say so.

    Raises:
        ValueError: the tracker is not installed, or MLFLOW_TRACKING_URI is not set.
    """
    if find_spec(to) is None:
        raise ValueError(f'--track {to}: it is not installed; pip install "mdhfl[{to}]"')
    if to == "wandb":
        return Tracking(to=to)
    address = os.environ.get("MLFLOW_TRACKING_URI", "")
    if "://" not in address:
        raise ValueError(
            "--track mlflow: expected MLflow's server in the environment variable MLFLOW_TRACKING_URI, for example "
            f"http://127.0.0.1:5000, got {address!r}"
        )
    return Tracking(to=to, address=address)
