"""What `mdhfl compare` costs beyond the runs themselves: the same runs, bare, one after another in one process."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import yaml

SPEC: dict[str, Any] = {
    "question": "What does comparing cost?",
    "rounds": 3,
    "seeds": [0],
    "set": {"warm_up_epochs": 1, "align_epochs": 1},
    "bundles": ["shufflenet_v2"],
    "prepare": {
        "source": "synthetic", "sites": 4, "per_site": 200, "public": "synthetic", "public_count": 100,
        "classes": ["eosinophil", "monocyte", "erythroblast", "neutrophil_segmented"],
    },
    "federations": {"IID": {"split": "iid"}},
    "methods": {
        "local CE": {"recipe": "local"}, "local SCE": {"recipe": "local_sce"}, "FedMD": {"recipe": "fedmd"},
        "MDH-FL": {"recipe": "mdhfl"}, "RHFL": {"recipe": "rhfl"}, "FedAvg": {"recipe": "fedavg"},
    },
}  # fmt: skip

BARE = """
import sys
from pathlib import Path
from mdhfl.comparison.grid import read_comparison
from mdhfl.comparison.place import Workplace
from mdhfl.runs.inprocess import run_in_process
from mdhfl.runs.folder import RunOptions, create_run
file, work, out = map(Path, sys.argv[1:])
place = Workplace(data=work, work=work, threads=1, device="cpu")  # as `compare --workers 1`
for cell in read_comparison(file).cells:
    folder = out / cell.run_folder
    options = RunOptions(federation=place.federation(cell), engine="inprocess", bundles=cell.bundles, seed=cell.seed,
                      rounds=cell.rounds, changes=cell.changes, min_sites=None, device="cpu", threads=place.threads,
                      command="bare")
    run_in_process(folder, experiment=create_run(folder, recipe=cell.recipe, options=options))
"""


def measure(folder: Path) -> list[dict[str, Any]]:
    """Run six methods on one prepared federation both ways.

    Returns:
        Seconds of each, imports included, and their ratio.
    """
    from mdhfl.comparison.grid import read_comparison
    from mdhfl.preprocessing.prepare import prepare

    folder.mkdir(parents=True)
    file, work = folder / "spec.yaml", folder / "work"
    file.write_text(yaml.safe_dump(SPEC, sort_keys=False), encoding="utf-8")
    cells = read_comparison(file).cells
    prepare(cells[0].prepare_arguments(data=work, out=work / "federations" / cells[0].federation_folder), workers=1)
    bare = _timed([sys.executable, "-c", BARE, str(file), str(work), str(folder / "bare")])
    command = [sys.executable, "-m", "mdhfl.commands.cli", "compare", str(file), "--work", str(work), "--workers", "1"]
    compared = _timed([*command, "--out", str(folder / "out")])
    return [
        {
            "runs": len(cells),
            "bare s": round(bare, 1),
            "compare s": round(compared, 1),
            "ratio": round(compared / bare, 3),
        }
    ]


def _timed(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - start
