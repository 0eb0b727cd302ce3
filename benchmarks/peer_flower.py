"""FedMD as an app of Flower, with its message API, in the habits of its PyTorch quick start.

Each site's network, images, batch size and numbers of gradient steps are those of `mdhfl run fedmd`. A client of Flower
keeps nothing between messages but its context: there its weights lie, and it reads its images anew for each message.

    python -m benchmarks.peer_flower FEDERATION ROUNDS BUNDLE...

prints round, seconds since the end of the warm-up, and the sites' mean accuracy on their own test images.
"""

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.simulation import run_simulation
from PIL import Image
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from mdhfl.learning.bundle import load_bundle

BATCH = 16
WARM_UP_EPOCHS, LOCAL_EPOCHS, DIGEST_EPOCHS = 1, 2, 1
PLAIN = [v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.5] * 3, [0.5] * 3)]
TURNED = v2.Compose([v2.RandomHorizontalFlip(), v2.RandomVerticalFlip(), *PLAIN])


class Cells(Dataset[tuple[torch.Tensor, int]]):
    """A list of image files with their labels, 0 where there are none."""

    def __init__(self, folder: Path, part: str, transform: Any) -> None:
        self.folder, self.transform = folder, transform
        self.items = json.loads((folder / "datalist.json").read_text(encoding="utf-8"))[part]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        item = self.items[index]
        with Image.open(self.folder / item["image"]) as image:
            return self.transform(image.convert("RGB")), item.get("label", 0)


def client_app(federation: Path, bundles: Sequence[str]) -> ClientApp:
    """Return the sites: digest the consensus, revisit the private images, answer the public ones, score."""
    card = json.loads((federation / "federation.json").read_text(encoding="utf-8"))
    sites = sorted(card["sites"])
    app = ClientApp()

    @app.train()  # type: ignore[untyped-decorator]
    def train(message: Message, context: Context) -> Message:
        torch.set_num_threads(1)
        number = int(context.node_config["partition-id"])
        folder = federation / "sites" / sites[number]
        torch.manual_seed(number)
        bundle = load_bundle(bundles[number], num_classes=len(card["classes"]), image_size=card["image_size"])
        network = bundle.network
        if "weights" in context.state:
            network.load_state_dict(context.state["weights"].to_torch_state_dict())
        optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
        epochs = WARM_UP_EPOCHS
        if "consensus" in message.content:
            epochs = LOCAL_EPOCHS
            teacher = torch.from_numpy(message.content["consensus"]["values"].numpy())
            _digest(network, optimizer, federation / "public", teacher)
        _fit(network, optimizer, Cells(folder, "training", TURNED), epochs)
        context.state["weights"] = ArrayRecord(network.state_dict())
        answers, _ = _answers(network, Cells(federation / "public", "public", v2.Compose(PLAIN)))
        said, labels = _answers(network, Cells(folder, "test", v2.Compose(PLAIN)))
        accuracy = float((said.argmax(dim=1) == labels).float().mean())
        content = {
            "logits": ArrayRecord({"values": Array(answers.numpy())}),
            "scores": MetricRecord({"accuracy": accuracy}),
        }
        return Message(RecordDict(content), reply_to=message)

    return app


def server_app(rounds: int, *, sites: int) -> ServerApp:
    """Return the server: the mean of all logits is the next round's consensus."""
    app = ServerApp()

    @app.main()  # type: ignore[untyped-decorator]
    def main(grid: Grid, context: Context) -> None:
        consensus: np.ndarray[Any, Any] | None = None
        began = 0.0
        for number in range(rounds + 1):
            content = RecordDict({"round": ConfigRecord({"number": number})})
            if consensus is not None:
                content["consensus"] = ArrayRecord({"values": Array(consensus)})
            while len(nodes := list(grid.get_node_ids())) < sites:
                time.sleep(0.1)
            asked = [Message(content, dst_node_id=node, message_type="train") for node in nodes]
            replies = list(grid.send_and_receive(asked))
            failed = [reply.error for reply in replies if reply.has_error()]
            if failed or len(replies) != len(nodes):
                raise RuntimeError(f"round {number}: {failed}")
            consensus = np.mean([reply.content["logits"]["values"].numpy() for reply in replies], axis=0)
            began = began or time.perf_counter()
            scores = [reply.content["scores"]["accuracy"] for reply in replies]
            print(f"round {number} {time.perf_counter() - began:.3f} {np.mean(scores):.3f}", flush=True)

    return app


def _fit(network: Any, optimizer: Any, cells: Cells, epochs: int) -> None:
    network.train()
    for _ in range(epochs):
        for images, labels in DataLoader(cells, batch_size=BATCH, shuffle=True):
            optimizer.zero_grad()
            F.cross_entropy(network(images), labels).backward()
            optimizer.step()


def _digest(network: Any, optimizer: Any, public: Path, teacher: torch.Tensor) -> None:
    cells = Cells(public, "public", TURNED)
    network.train()
    for _ in range(DIGEST_EPOCHS):
        for batch in torch.randperm(len(cells)).split(BATCH):
            images = torch.stack([cells[i][0] for i in batch.tolist()])
            optimizer.zero_grad()
            F.l1_loss(network(images), teacher[batch]).backward()
            optimizer.step()


def _answers(network: Any, cells: Cells) -> tuple[torch.Tensor, torch.Tensor]:
    network.eval()
    with torch.inference_mode():
        pairs = [(network(images), labels) for images, labels in DataLoader(cells, batch_size=64)]
    answers, labels = zip(*pairs, strict=True)
    return torch.cat(answers), torch.cat(labels)


if __name__ == "__main__":
    folder, rounds, *names = sys.argv[1:]
    run_simulation(
        server_app=server_app(int(rounds), sites=len(names)),
        client_app=client_app(Path(folder), names),
        num_supernodes=len(names),
        backend_config={
            "client_resources": {"num_cpus": 1, "num_gpus": 0.0},
            "init_args": {"_node_ip_address": "127.0.0.1", "include_dashboard": False},
        },
    )
