"""What an installation takes on the disk, by role."""

import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
ROLES = {
    "a site that trains": ".",
    "a server of a FLARE job": ".[server]",
    "everything a researcher uses": ".[all]",
}
PYTORCH = ("nvidia", "torch", "torchvision", "torchvision.libs", "triton", "cuda")
UNIT = 10**9  # bytes


def measure(folder: Path) -> list[dict[str, Any]]:
    """Install each role into an environment of its own, from uv's cache where it has the packages.

    Args:
        folder: does not exist yet; the environments are made in it, one after another.

    Returns:
        Per role: packages, gigabytes, and how many of them are PyTorch and the NVIDIA libraries that it brings along.
    """
    uv = Path(sys.executable).parent / "uv"
    found = []
    for number, (role, what) in enumerate(ROLES.items()):
        environment = folder / str(number)
        subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, environment], check=True)
        python = str(environment / "bin" / "python")
        install = [str(uv), "pip", "install", "--quiet", "--python", python, what]
        subprocess.run(install, cwd=ROOT, check=True)
        (packages,) = environment.glob("lib/python*/site-packages")
        found.append(
            {
                "role": role,
                "pip install": f"`{what}`",
                "packages": len(list(packages.glob("*.dist-info"))),
                "GB": round(size_of(environment) / UNIT, 2),
                "of it PyTorch and NVIDIA": round(sum(size_of(packages / name) for name in PYTORCH) / UNIT, 2),
            }
        )
    return found


def size_of(folder: Path) -> int:
    """Return the bytes of all files in a folder; 0 if there is none."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
