"""Peak memory of a site's training beyond what its process holds before, against decoded images plus model."""

import json
import subprocess
import sys
from typing import Any

CODE = """
import json, pathlib, sys, torch
from mdhfl.learning.bundle import load_bundle
from mdhfl.learning.training import fit
torch.set_num_threads(1)
size, images = 64, 20000
loss = torch.nn.functional.cross_entropy

def memory(field):
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))

def train(bundle, network, pixels, labels):
    fit(network, optimizer=bundle.optimizer, images=pixels, targets=labels, loss=loss, epochs=1, batch_size=16,
        intensity=bundle.intensity_transform, augment=bundle.random_transforms.batch, generator=torch.Generator())

bundle = load_bundle(sys.argv[1], num_classes=13, image_size=size)
network = bundle.network.to(memory_format=torch.channels_last)
few = torch.randint(0, 255, (64, 3, size, size), dtype=torch.uint8)
train(bundle, network, few, torch.zeros(64, dtype=torch.int64))  # model, optimiser, activations, libraries
before = memory("VmRSS")
pathlib.Path("/proc/self/clear_refs").write_text("5")  # the peak of the imports does not count
pixels = torch.randint(0, 255, (images, 3, size, size), dtype=torch.uint8)
train(bundle, network, pixels[:640], torch.zeros(640, dtype=torch.int64))
model = 3 * sum(p.numel() for p in network.parameters()) * 4  # weights and Adam's two moments
print(json.dumps({"grown": memory("VmHWM") - before, "cache": pixels.numel(), "model": model}))
"""


def measure(*, architecture: str = "shufflenet_v2") -> list[dict[str, Any]]:
    """Train in a fresh process and compare the growth of its peak memory with the decoded uint8 cache.

    Libraries, model and activations are there before the first reading; what comes after is the cache and whatever
    training adds to it. The ratio is (growth + model) / (cache + model).
    """
    done = subprocess.run([sys.executable, "-c", CODE, architecture], check=True, capture_output=True, text=True)
    values = json.loads(done.stdout.splitlines()[-1])
    mib = 1 / 2**20
    return [
        {
            "architecture": architecture,
            "cache MiB": round(values["cache"] * mib, 1),
            "model and optimiser MiB": round(values["model"] * mib, 1),
            "peak growth MiB": round(values["grown"] * mib, 1),
            "ratio": round((values["grown"] + values["model"]) / (values["cache"] + values["model"]), 2),
        }
    ]
