"""What each bundle's network for small images learns, beside others of its kind: `python -m experiments.networks`.

Every network is trained on the pooled, clean images of one federation (Acevedo_20, 32 pixels). Rows are appended to
`experiments/networks.csv` as they come, what is there is not measured again, and docs/results.md shows them.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from experiments.document import ROOT, replaced, table
from mdhfl.learning.bundle import load_bundle
from mdhfl.learning.images import PrivateSet, load_private_set
from mdhfl.learning.model import Model
from mdhfl.preprocessing.arguments import PrepareArguments
from mdhfl.preprocessing.prepare import prepare
from mdhfl.showing.sheets import read_csv, to_csv

FOUND, PAGE = ROOT / "experiments" / "networks.csv", ROOT / "docs" / "results.md"
BUNDLES = ("shufflenet_v2", "resnet10", "mobilenet_v2", "resnet12")
NETWORKS = {  # which -> what its bundle's name ends in, pixels that the network is built for
    "for small images": ("", 32),
    "group normalisation": ("_group", 32),
    "stock": ("", 288),
}
EPOCHS = (10, 30)
IMAGES, SIZE, CLASSES = 1600, 32, 8
COLUMNS = ("bundle", "network", "parameters", *(f"accuracy after {epochs} epochs, %" for epochs in EPOCHS))


@click.command()
@click.option("--data", type=click.Path(path_type=Path), required=True, help="Folder with acevedo20_64px.zip.")
@click.option("--work", type=click.Path(path_type=Path), default=Path("runs"), help="Folder for the federation.")
def main(data: Path, work: Path) -> None:
    """Measure what is missing, then write the table."""
    import torch

    torch.set_num_threads(1)
    federation = work / "federations" / "networks"
    arguments = PrepareArguments(
        source="acevedo20", raw=data / "acevedo20_64px.zip", label_space="acevedo8", sites=1, per_site=IMAGES,
        test=0.4, image_size=SIZE, public_count=8, out=federation,
    )  # fmt: skip
    prepare(arguments, workers=1)
    for bundle in BUNDLES:
        for network in NETWORKS:
            if (bundle, network) not in {(row["bundle"], row["network"]) for row in rows()}:
                append(measure(bundle, network, federation / "sites" / "site-1"))
    PAGE.write_text(page(), encoding="utf-8")


def page() -> str:
    """Return what docs/results.md should say."""
    ordered = sorted(rows(), key=lambda row: (BUNDLES.index(row["bundle"]), list(NETWORKS).index(row["network"])))
    text = table([list(COLUMNS), *([row[name] for name in COLUMNS] for row in ordered)])
    return replaced(PAGE.read_text(encoding="utf-8"), "networks", text)


def measure(bundle: str, network: str, data: Path) -> dict[str, Any]:
    """Train one network from scratch and score it on the clean test images."""
    from torch.nn.functional import cross_entropy

    model = opened(bundle, network)
    private: PrivateSet = load_private_set(data, **model.how_to_read())
    row: dict[str, Any] = {"bundle": bundle, "network": network, "parameters": model.bundle.parameters}
    done = 0
    for epochs in EPOCHS:
        training = private.training
        model.fit(
            training.images, training.labels, loss=cross_entropy, epochs=epochs - done, seed=done, transforms_seed=done
        )
        scores, _ = model.score(private.test)
        row[f"accuracy after {epochs} epochs, %"] = round(100 * scores.accuracy, 1)
        done = epochs
    return row


def opened(bundle: str, network: str) -> Model:
    """Return a bundle's model, with another normalisation or with the network that it has for another image size."""
    import torch

    ending, size = NETWORKS[network]
    model = Model.open(f"{bundle}{ending}", num_classes=CLASSES, image_size=SIZE, seed=0)
    if size == SIZE:
        return model
    torch.manual_seed(0)
    loaded = load_bundle(bundle, num_classes=CLASSES, image_size=size)
    loaded.network.to(memory_format=torch.channels_last)
    return replace(model, bundle=loaded)


def rows() -> list[dict[str, str]]:
    """Return what was measured."""
    return read_csv(FOUND) if FOUND.exists() else []


def append(row: dict[str, Any]) -> None:
    """Write one more row."""
    FOUND.write_text(to_csv([*rows(), row], columns=COLUMNS), encoding="utf-8", newline="")


if __name__ == "__main__":
    main()
