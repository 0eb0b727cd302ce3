"""MDH-FL on one page: no class of this project but its losses, no FLARE, no files but the images.

`python examples/mdhfl_by_hand.py fed/` trains the federation in fed/ for two rounds and prints each site's accuracy on
its clean test images. `tests/examples` holds it to the numbers of the engine, bit for bit.
"""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torchvision.models import ShuffleNetV2

from mdhfl.losses import knowledge_divergence, symmetric_cross_entropy


def seed_of(*words):  # every random number depends on nothing but words that say what it is for
    return int.from_bytes(hashlib.sha256("/".join(map(str, words)).encode()).digest()[:8], "big") >> 1


def read(folder, part):
    items = json.loads((folder / "datalist.json").read_text())[part]
    pixels = np.stack([np.asarray(Image.open(folder / item["image"]).convert("RGB")) for item in items])
    x = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255 * 2 - 1
    return x.contiguous(memory_format=torch.channels_last), torch.tensor([item.get("label", -1) for item in items])


def fit(network, optimizer, x, target, loss, seed, batch_size=16):
    torch.manual_seed(seed)
    network.train()
    for batch in torch.randperm(len(x), generator=torch.Generator().manual_seed(seed)).split(batch_size):
        if len(batch) > 1:
            optimizer.zero_grad()
            loss(network(x[batch].contiguous(memory_format=torch.channels_last)), target[batch]).backward()
            optimizer.step()


@torch.inference_mode()
def answer(network, x):
    network.eval()
    return network(x)


def mdhfl(federation, *, rounds=2, seed=0, ce_weight=0.1, rce_weight=1.0):
    card = json.loads((federation / "federation.json").read_text())
    sites, classes = list(card["sites"]), len(card["classes"])
    public, _ = read(federation / "public", "public")
    data = {s: {part: read(federation / "sites" / s, part) for part in ("training", "test")} for s in sites}
    networks, optimizers, knowledge = {}, {}, {}

    def local(logits, labels):
        return symmetric_cross_entropy(logits, labels, ce_weight=ce_weight, rce_weight=rce_weight)

    def align(logits, teacher):
        return knowledge_divergence(logits, teacher, temperature=1.0)

    for s in sites:
        torch.manual_seed(seed_of(seed, s, 0, "initial weights"))
        network = ShuffleNetV2([2, 4, 2], [16, 32, 64, 128, 512], classes).to(memory_format=torch.channels_last)
        networks[s] = torch.nn.Sequential(torch.nn.Upsample((96, 96), mode="bilinear"), network)
        optimizers[s] = torch.optim.Adam(networks[s].parameters(), lr=1e-3, fused=True)
    for number in range(rounds + 1):  # round 0 is the warm-up: local training only
        total = sum(knowledge[s].double() for s in sites).float() if knowledge else None
        for s in sites:
            if total is not None:  # teach: the mean of the others;  align: KL(teacher || own)
                others = (total.double() - knowledge[s].double()) / (len(sites) - 1)
                teacher = (others.clamp(min=0) / others.clamp(min=0).sum(dim=1, keepdim=True)).float()
                fit(networks[s], optimizers[s], public, teacher, align, seed_of(seed, s, number, "align"))
            phase = "train" if number else "warm_up"
            fit(networks[s], optimizers[s], *data[s]["training"], local, seed_of(seed, s, number, phase))
        knowledge = {s: answer(networks[s], public).softmax(dim=1) for s in sites}  # share
    return {s: (answer(networks[s], data[s]["test"][0]).argmax(1), data[s]["test"][1]) for s in sites}, knowledge


if __name__ == "__main__":
    for site, (predicted, labels) in mdhfl(Path(sys.argv[1]))[0].items():
        print(f"{site}: accuracy {(predicted == labels).float().mean():.3f} on {len(labels)} clean test images")
