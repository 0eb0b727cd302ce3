"""One round of four sites against a loop with the habits of the published reference code.

Those habits: images decoded in every epoch, NCHW, an extra pass over the private images for their loss, every teacher's
forward pass repeated for every public batch with one KL term a pair, a new Adam for every public batch. Same networks,
images, batch size and number of gradient steps; no augmentation on either side.
"""

import time
from pathlib import Path
from typing import Any

ARCHITECTURES = ("shufflenet_v2", "resnet10", "mobilenet_v2", "resnet12")
BATCH = 16
CE_WEIGHT, RCE_WEIGHT = 0.1, 1.0


def measure(folder: Path, *, training: int = 320, public: int = 160, size: int = 32) -> list[dict[str, Any]]:
    """Time both rounds on one small federation, in turns, and check that their mathematics agrees.

    Returns:
        Seconds of each and their ratio, and the largest relative difference of the losses that must be equal.
    """
    import torch

    torch.set_num_threads(1)
    site_folders, public_folder, count = _federation(folder, training=training, public=public, size=size)
    literal = [_network(name, count, size) for name in ARCHITECTURES]
    ours = [_network(name, count, size) for name in ARCHITECTURES]
    agreement = _largest_difference(ours, public_folder)
    start = time.perf_counter()
    for _ in range(2):
        _literal_round(literal, site_folders, public_folder)
    middle = time.perf_counter()
    cache = [_decode(f) for f in (*site_folders, public_folder)]
    optimizers = [torch.optim.Adam(n.parameters(), lr=1e-3, fused=True) for n in ours]
    networks = [n.to(memory_format=torch.channels_last) for n in ours]
    for _ in range(2):
        _our_round(networks, optimizers, cache)
    end = time.perf_counter()
    return [
        {
            "literal s": round((middle - start) / 2, 2),
            "ours s": round((end - middle) / 2, 2),
            "ratio": round((middle - start) / (end - middle), 2),
            "largest loss difference": f"{agreement:.1e}",
        }
    ]


def _literal_round(networks: list[Any], sites: list[Path], public: Path) -> None:
    import torch
    from torch.nn import functional as F

    for k, network in enumerate(networks):  # align: all pairs, batch by batch
        images, _ = _decode(public)
        for batch in torch.arange(len(images)).split(BATCH):
            x = images[batch].float() / 127.5 - 1
            network.train()
            own = F.log_softmax(network(x), dim=1)
            loss = torch.zeros(())
            for j, other in enumerate(networks):
                if j != k:
                    other.eval()
                    with torch.no_grad():
                        teacher = other(x).softmax(dim=1)
                    loss = loss + F.kl_div(own, teacher, reduction="batchmean") / (len(networks) - 1)
            optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    for network, site in zip(networks, sites, strict=True):  # train, then look at the private images once more
        images, labels = _decode(site)
        optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
        network.train()
        for batch in torch.arange(len(images)).split(BATCH):
            optimizer.zero_grad()
            _sce(network(images[batch].float() / 127.5 - 1), labels[batch]).backward()
            optimizer.step()
        images, labels = _decode(site)
        network.eval()
        with torch.no_grad():
            for batch in torch.arange(len(images)).split(BATCH):
                _sce(network(images[batch].float() / 127.5 - 1), labels[batch])


def _our_round(networks: list[Any], optimizers: list[Any], cache: list[tuple[Any, Any]]) -> None:
    import torch

    from mdhfl.learning.training import fit, predict
    from mdhfl.losses import knowledge_divergence, symmetric_cross_entropy

    *private, (public, _) = cache

    def intensity(batch: Any) -> Any:
        return batch / 127.5 - 1

    knowledge = [predict(n, images=public, intensity=intensity).softmax(dim=1) for n in networks]
    total = torch.stack(knowledge).sum(dim=0)
    for k, (network, optimizer) in enumerate(zip(networks, optimizers, strict=True)):
        common = {
            "optimizer": optimizer,
            "epochs": 1,
            "batch_size": BATCH,
            "intensity": intensity,
            "augment": None,
            "generator": torch.Generator().manual_seed(0),
        }
        fit(
            network,
            images=public,
            targets=(total - knowledge[k]) / (len(networks) - 1),
            loss=lambda z, t: knowledge_divergence(z, t, temperature=1.0),
            **common,
        )
        images, labels = private[k]
        fit(
            network,
            images=images,
            targets=labels,
            loss=lambda z, y: symmetric_cross_entropy(z, y, ce_weight=CE_WEIGHT, rce_weight=RCE_WEIGHT),
            **common,
        )


def _largest_difference(networks: list[Any], public: Path) -> float:
    """Compare our losses with the literal ones on one batch: SCE, and the gradient of all pairs' KL."""
    import torch
    from torch.nn import functional as F

    from mdhfl.losses import knowledge_divergence, symmetric_cross_entropy

    images, _ = _decode(public)
    x = images[:BATCH].float() / 127.5 - 1
    for network in networks:
        network.eval()
    with torch.no_grad():
        teachers = [n(x).softmax(dim=1) for n in networks[1:]]
        logits = networks[0](x)
    labels = torch.arange(BATCH) % logits.shape[1]
    ours = symmetric_cross_entropy(logits, labels, ce_weight=CE_WEIGHT, rce_weight=RCE_WEIGHT)
    differences = [abs(ours - _sce(logits, labels)) / ours]
    z = logits.clone().requires_grad_()
    pairs = [F.kl_div(F.log_softmax(z, dim=1), t, reduction="batchmean") for t in teachers]
    (expected,) = torch.autograd.grad(torch.stack(pairs).mean(), z)
    (got,) = torch.autograd.grad(knowledge_divergence(z, torch.stack(teachers).mean(dim=0), temperature=1.0), z)
    differences.append((got - expected).abs().max() / expected.abs().max())
    largest = float(max(differences))
    if largest > 1e-4:
        raise AssertionError(f"our losses differ from the literal ones by {largest:.1e}")
    return largest


def _sce(logits: Any, labels: Any) -> Any:
    import torch

    p = logits.softmax(dim=1).clamp(1e-7, 1)
    g = torch.nn.functional.one_hot(labels, logits.shape[1]).float().clamp(1e-4, 1)
    ce = -(p[torch.arange(len(labels)), labels].log()).mean()
    return CE_WEIGHT * ce + RCE_WEIGHT * -(p * g.log()).sum(dim=1).mean()


def _network(name: str, classes: int, size: int) -> Any:
    import torch

    from mdhfl.learning.bundle import load_bundle

    torch.manual_seed(0)
    return load_bundle(name, num_classes=classes, image_size=size).network


def _decode(folder: Path) -> tuple[Any, Any]:
    """Read a folder's PNG files with Pillow, as every epoch of the literal loop does."""
    import numpy as np
    import torch
    from PIL import Image

    files = sorted(folder.glob("*.png"))
    pixels = np.stack([np.asarray(Image.open(f).convert("RGB")).transpose(2, 0, 1) for f in files])
    return torch.from_numpy(pixels), torch.tensor([int(f.stem.split("_")[1]) for f in files])


def _federation(folder: Path, *, training: int, public: int, size: int) -> tuple[list[Path], Path, int]:
    """Draw cells as PNG files: number_label.png."""
    from PIL import Image

    from mdhfl.preprocessing.drawing.cell import draw_cell
    from mdhfl.preprocessing.drawing.scanners import scanner

    classes = ("eosinophil", "erythroblast", "monocyte", "lymphocyte_typical", "neutrophil_segmented")
    places = [folder / name for name in (*ARCHITECTURES, "public")]
    for number, place in enumerate(places):
        place.mkdir(parents=True, exist_ok=True)
        for i in range(public if place.name == "public" else training):
            label = i % len(classes)
            cell = draw_cell(classes[label], seed=1000 * number + i, scanner=scanner(number, seed=0), size=size)
            Image.fromarray(cell).save(place / f"{i:05d}_{label}.png")
    return places[:-1], places[-1], len(classes)
