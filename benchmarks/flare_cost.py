"""What FLARE adds: seconds a round beyond the in-process run, and bytes on the wire beyond one matrix."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

SITES, FEW, MANY = 4, 2, 12


def measure_seconds(folder: Path) -> list[dict[str, Any]]:
    """Run one experiment in the simulator and in one process, with few and with many rounds.

    The slope between the two round counts leaves start-up out. Sites work in turns in one process and side by side in
    FLARE, so training is kept as small as possible: what is left is the cost of the exchange.
    """
    fed = small_federation(folder / "fed")
    seconds = {
        (engine, rounds): _run(folder / f"{engine}-{rounds}", fed, engine=engine, rounds=rounds)
        for rounds in (FEW, MANY)
        for engine in ("inprocess", "flare")
    }
    a_round = {e: (seconds[e, MANY] - seconds[e, FEW]) / (MANY - FEW) for e in ("inprocess", "flare")}
    return [
        {
            "in process s/round": round(a_round["inprocess"], 2),
            "FLARE s/round": round(a_round["flare"], 2),
            "beyond s/round": round(a_round["flare"] - a_round["inprocess"], 2),
        }
    ]


def small_federation(folder: Path, *, sites: int = SITES) -> Path:
    """Write sites with a few drawn cells, unless they are there, and return their folder."""
    from mdhfl.preprocessing.arguments import PrepareArguments
    from mdhfl.preprocessing.prepare import prepare

    prepare(
        PrepareArguments(
            source="synthetic",
            out=folder,
            sites=sites,
            per_site=32,
            public="synthetic",
            public_count=32,
            classes=("eosinophil", "monocyte"),
        ),
        workers=1,
    )
    return folder


def _run(out: Path, fed: Path, *, engine: str, rounds: int) -> float:
    """Return the seconds between a run's first and last recorded round."""
    from mdhfl.jobs import RECIPES
    from mdhfl.runs.folder import RunOptions, create_run

    options = RunOptions(
        federation=fed,
        engine=engine,
        bundles=("shufflenet_v2",),
        seed=0,
        rounds=rounds,
        changes={},
        min_sites=None,
        device="cpu",
        threads=1,
        command="a benchmark",
    )
    create_run(out, recipe=RECIPES["mdhfl"], options=options)
    code = (
        "import pathlib, sys, mdhfl.runs.inprocess as i, mdhfl.runs.folder as r; f = pathlib.Path(sys.argv[1]);"
        "i.run_in_process(f, experiment=r.read_run(f)[0])"
    )
    command = ["-m", "mdhfl.flare.simulator"] if engine == "flare" else ["-c", code]
    results = out / "results.jsonl"
    process = subprocess.Popen(
        [sys.executable, *command, str(out)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    first = last = 0.0
    while process.poll() is None:
        lines = results.read_bytes().count(b"\n") if results.exists() else 0
        now = time.perf_counter()
        first = first or (now if lines >= SITES else 0.0)
        last = last or (now if lines >= SITES * (rounds + 1) else 0.0)
        time.sleep(0.02)
    return (last or time.perf_counter()) - first


def measure_bytes(*, images: int = 852, classes: int = 13) -> list[dict[str, Any]]:
    """Serialise a request and an answer as FLARE does and compare with one float32 (N, C) matrix."""
    from nvflare.apis.dxo import DXO, DataKind
    from nvflare.apis.utils.decomposers import flare_decomposers
    from nvflare.app_common.decomposers.numpy_decomposers import NumpyArrayDecomposer
    from nvflare.fuel.utils import fobs

    from mdhfl.jobs import RECIPES
    from mdhfl.rounds.experiment import Experiment
    from mdhfl.sharing.accounts import About, Cost, Losses, Validation
    from mdhfl.sharing.knowledge import Knowledge
    from mdhfl.sharing.messages import Answer
    from mdhfl.sharing.teaching import weighted_sum

    flare_decomposers.register()
    fobs.register(NumpyArrayDecomposer)
    experiment = Experiment(
        id="trial",
        method=RECIPES["mdhfl"].method,
        rounds=1,
        seed=0,
        sites=("site-1", "site-2", "site-3", "site-4"),
        min_sites=2,
        classes=tuple(f"a class named {c}" for c in range(classes)),
        public_digest="0" * 64,
        public_count=images,
        federation_digest="0" * 64,
        training_images=dict.fromkeys(("site-1", "site-2", "site-3", "site-4"), 100),
    )
    subject = experiment.subject
    values = np.full((images, classes), 1 / classes, dtype=np.float32)
    said = {s: Knowledge(values=values, subject=subject, site=s, round=1) for s in experiment.sites}
    answer = Answer(
        site="site-1",
        round=1,
        shared=said["site-1"],
        validation=Validation(accuracy=0.5, macro_f1=0.5, balanced_accuracy=0.5, ece=0.1),
        confusion=np.full((classes, classes), 300, dtype=np.uint16),
        losses=Losses(train=1.0, align=1.0),
        cost=Cost(seconds={"align": 1.0, "train": 1.0, "score": 1.0, "share": 1.0}),
        about=About(
            bundle="resnet10",
            architecture="ResNet10",
            parameters=10**6,
            training_images=800,
            missing_classes=(),
            layout="0" * 64,
        ),
    )
    request = experiment.request("learn", number=2, lesson=weighted_sum(said, weights=dict.fromkeys(said, 1.0)))
    found = []
    for direction, message in (("up", answer), ("down", request)):
        shareable = DXO(data_kind=DataKind.APP_DEFINED, data=message.to_wire()).to_shareable()
        size = len(fobs.dumps(shareable))
        found.append({"direction": direction, "matrix": values.nbytes, "on the wire": size})
        found[-1]["ratio"] = round(size / values.nbytes, 3)
    return found
