"""MONAI's own command where mdhfl is not installed."""

import os
import subprocess
import sys
from pathlib import Path


def run_without_mdhfl(bundle: Path, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run MONAI's command in a process where importing mdhfl fails, as where it is not installed."""
    config = "configs/inference.yaml" if cwd is None else str(bundle / "configs" / "inference.yaml")
    blocker = bundle.parent / "blocker"
    blocker.mkdir(exist_ok=True)
    (blocker / "sitecustomize.py").write_text(
        "import sys\n"
        "class Blocked:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] == 'mdhfl':\n"
        "            raise ImportError('mdhfl is blocked')\n"
        "sys.meta_path.insert(0, Blocked())\n",
        encoding="utf-8",
    )
    environment = {**os.environ, "PYTHONPATH": str(blocker)}
    proof = subprocess.run(
        [sys.executable, "-c", "import mdhfl"], env=environment, capture_output=True, text=True, check=False
    )
    assert "mdhfl is blocked" in proof.stderr
    return subprocess.run(
        [sys.executable, "-m", "monai.bundle", "run", "--config_file", config, *arguments],
        cwd=cwd or bundle, env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
